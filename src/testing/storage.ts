import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Awaitable } from '../contract/deadline.ts'
import type { Payload } from '../contract/payload.ts'
import type { OpenStorage } from '../contract/storage.ts'
import { streamsConformance } from './storage/streams.ts'
import { until } from './storage/until.ts'

/**
 * Registers the conformance tests of a storage with node:test. Missing capabilities are skipped.
 *
 * @example
 * storageConformance('mine', () => open({ options, log, instance }))
 */
export function storageConformance(name: string, open: () => Awaitable<OpenStorage>): void {
  describe(`storage ${name}`, () => {
    let storage: OpenStorage
    let unique = 0
    const key = (what: string) => `conformance:${process.pid}:${++unique}:${what}`
    before(async () => {
      storage = await open()
    })
    after(() => storage.close?.())

    it('has at least one capability', () => {
      assert.ok(storage.sets ?? storage.values ?? storage.bus ?? storage.streams)
    })

    describe('sets', () => {
      const sets = () => storage.sets!
      it('an unknown key is an empty set', async t => {
        if (!storage.sets) return t.skip('no sets')
        assert.deepEqual(await sets().get(key('none')), new Set())
      })
      it('keeps each member once', async t => {
        if (!storage.sets) return t.skip('no sets')
        const k = key('set')
        for (const member of ['a', 'b', 'a']) await sets().add(k, member)
        assert.deepEqual(new Set(await sets().get(k)), new Set(['a', 'b']))
        await sets().remove(k, 'a')
        await sets().remove(k, 'never there')
        assert.deepEqual(new Set(await sets().get(k)), new Set(['b']))
      })
      it('returns a copy without later changes', async t => {
        if (!storage.sets) return t.skip('no sets')
        const k = key('copy')
        await sets().add(k, 'a')
        const copy = await sets().get(k)
        await sets().add(k, 'b')
        assert.deepEqual(new Set(copy), new Set(['a']))
      })
      it('distinguishes names and members that differ in any code unit', async t => {
        if (!storage.sets) return t.skip('no sets')
        const odd = [
          '',
          ' ',
          '\0',
          '\ud800',
          '\ud801',
          '\ufffd',
          '\0"\\ud800"',
          '{',
          '}',
          '{}',
          '*',
          '\r\n',
          '__proto__',
          'ünï',
        ]
        const base = key('odd')
        for (const name of odd) await sets().add(`${base}:${name}`, name)
        for (const name of odd)
          assert.deepEqual(new Set(await sets().get(`${base}:${name}`)), new Set([name]), JSON.stringify(name))
      })
      it('keeps all of many concurrent updates', async t => {
        if (!storage.sets) return t.skip('no sets')
        const k = key('many')
        const members = Array.from({ length: 50 }, (_, i) => `m${i}`)
        await Promise.all(members.map(async member => sets().add(k, member)))
        assert.deepEqual(new Set(await sets().get(k)), new Set(members))
      })
    })

    describe('values', () => {
      const values = () => storage.values!
      it('set, get, delete', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('value')
        assert.equal(await values().get(k), undefined)
        assert.equal(await values().set(k, ''), true)
        assert.equal(await values().get(k), '')
        await values().set(k, 'ünï')
        assert.equal(await values().get(k), 'ünï')
        await values().delete(k)
        assert.equal(await values().get(k), undefined)
      })
      it('ifAbsent: exactly one of many concurrent callers sets', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('absent')
        const won = await Promise.all(
          Array.from({ length: 20 }, async (_, i) => values().set(k, String(i), { ifAbsent: true })),
        )
        assert.equal(won.filter(Boolean).length, 1)
        assert.equal(await values().get(k), String(won.indexOf(true)))
      })
      it('expires after its time to live', async t => {
        if (!storage.values) return t.skip('no values')
        const [k, long] = [key('ttl'), key('long-ttl')]
        await values().set(long, 'x', { ttlMs: 60_000 })
        await values().set(k, 'x', { ttlMs: 100 })
        assert.equal(await values().get(long), 'x')
        await until(async () => (await values().get(k)) === undefined)
        assert.equal(await values().set(k, 'y', { ifAbsent: true }), true)
        assert.equal(await values().get(long), 'x')
      })
      it('a set without a time to live removes an earlier one', async t => {
        if (!storage.values) return t.skip('no values')
        const [k, other] = [key('kept'), key('clock')]
        await values().set(k, 'x', { ttlMs: 40 })
        await values().set(k, 'y')
        await values().set(other, 'z', { ttlMs: 80 })
        await until(async () => (await values().get(other)) === undefined)
        assert.equal(await values().get(k), 'y')
      })
      it('increments atomically, from 0 if absent', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('count')
        const sums = await Promise.all(Array.from({ length: 50 }, async () => values().increment(k)))
        assert.deepEqual(
          sums.toSorted((a, b) => a - b),
          Array.from({ length: 50 }, (_, i) => i + 1),
        )
        assert.equal(await values().increment(k, -60), -10)
        assert.equal(await values().get(k), '-10')
      })
      it('increments large numbers exactly', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('large')
        await values().set(k, '1795234377478123')
        assert.equal(await values().increment(k), 1_795_234_377_478_124)
      })
      it('an increment does not extend the time to live of the first', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('window')
        await values().increment(k, 1, 80)
        await until(async () => (await values().increment(k, 1, 80)) === 1)
      })
      it('refuses to increment a value that is not an integer', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('text')
        await values().set(k, 'abc')
        await assert.rejects(async () => values().increment(k))
        assert.equal(await values().get(k), 'abc')
      })
      it('take: exactly one of many concurrent callers gets the value', async t => {
        if (!storage.values) return t.skip('no values')
        const k = key('take')
        await values().set(k, 'once')
        const taken = await Promise.all(Array.from({ length: 20 }, async () => values().take(k)))
        assert.deepEqual(
          taken.filter(value => value !== undefined),
          ['once'],
        )
        assert.equal(await values().get(k), undefined)
      })
    })

    describe('bus', () => {
      const bus = () => storage.bus!
      it('delivers strings and Buffers once, in order, to each subscription of the channel', async t => {
        if (!storage.bus) return t.skip('no bus')
        const [channel, other] = [key('channel'), key('other')]
        const [one, two, none]: Payload[][] = [[], [], []]
        const stops = [
          await bus().subscribe(channel, payload => one!.push(payload)),
          await bus().subscribe(channel, payload => two!.push(payload)),
          await bus().subscribe(other, payload => none!.push(payload)),
        ]
        const sent: Payload[] = Array.from({ length: 200 }, (_, i) => (i % 2 ? `text ${i}` : Buffer.from([i, 0, 255])))
        for (const payload of sent) await bus().publish(channel, payload)
        await until(() => one!.length >= sent.length && two!.length >= sent.length)
        assert.deepEqual(one, sent)
        assert.deepEqual(two, sent)
        assert.deepEqual(none, [])
        for (const stop of stops) await stop()
      })
      it('does not deliver after the end of a subscription', async t => {
        if (!storage.bus) return t.skip('no bus')
        const channel = key('ended')
        const [ended, going]: Payload[][] = [[], []]
        const stop = await bus().subscribe(channel, payload => ended!.push(payload))
        const stopGoing = await bus().subscribe(channel, payload => going!.push(payload))
        await stop()
        await bus().publish(channel, 'late')
        await until(() => going!.length === 1)
        assert.deepEqual(ended, [])
        await stopGoing()
      })
    })

    streamsConformance({ storage: () => storage, open, key })
  })
}
