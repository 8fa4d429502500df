import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Ledger, type LedgerOptions } from '../../../../filters/messaging/resumption/ledger.ts'
import { Run } from '../../../../filters/messaging/resumption/run.ts'
import type { Outcome } from '../../../../filters/messaging/rpc/outcome.ts'
import type { Values } from '../../../../src/contract/storage.ts'
import { Leases } from '../../../../src/kit/leases.ts'
import { openMemory } from '../../../support/memory-storage.ts'

const REMEMBER = 600_000
const LEASE = 10_000
const WINDOW = 4
const MAX_BYTES = 67_108_864
const ANSWERED = { error: { code: 'answered', message: 'this has been done and answered, and the answer is not kept' } }
const UNAVAILABLE = {
  error: { code: 'unavailable', message: 'this server cannot note what it does; try again later' },
}

function memory(): Values {
  return openMemory().values!
}

/** The same as a storage that is elsewhere, whose answers take a turn of the event loop; `broken` ones fail. */
function remote(values: Values, broken: Partial<Record<keyof Values, () => boolean>> = {}): Values {
  const later =
    (name: keyof Values) =>
    async (...args: unknown[]) => {
      await new Promise(setImmediate)
      if (broken[name]?.()) throw new Error(`no ${name}`)
      return (values[name] as (...args: unknown[]) => unknown).apply(values, args)
    }
  const names = ['get', 'set', 'increment', 'take', 'delete'] as const
  return Object.fromEntries(names.map(name => [name, later(name)])) as unknown as Values
}

function ledgerOf(values: Values, options: Partial<LedgerOptions> = {}) {
  const { node = 'a' } = options
  return new Ledger({
    values,
    node,
    window: WINDOW,
    rememberMs: REMEMBER,
    maxBytes: MAX_BYTES,
    leases: new Leases(values, 'messaging:node', node, LEASE),
    failed: error => assert.fail(String(error)),
    ...options,
  })
}

function runOf(ledger: Ledger, peer = 'copter1'): Run {
  const run = new Run(peer, 'e')
  run.connections = 1
  ledger.resume(run)
  return run
}

/** Counts how often it is done, and with which word. */
function counting(answer: unknown = 'done') {
  const told: boolean[] = []
  const doing = (repeated: boolean): Outcome => {
    told.push(repeated)
    return { value: answer }
  }
  return { told, doing }
}

/** Has no time pass but that which the test lets pass. */
function stopClock(t: TestContext): (ms: number) => Promise<void> {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  return async ms => {
    for (let i = 0; i < 50; i++) {
      await new Promise(setImmediate)
      t.mock.timers.tick(ms / 50)
    }
  }
}

describe('the ledger', () => {
  for (const [where, storage] of [
    ['in this process', memory],
    ['elsewhere', () => remote(memory())],
  ] as const) {
    it(`does a thing once, with a storage ${where}, until it is forgotten`, async t => {
      const values = storage()
      const pass = stopClock(t)
      const { told, doing } = counting({ a: [1] })
      const ledger = ledgerOf(values)
      for (let i = 0; i < 3; i++)
        assert.deepEqual(await ledger.once(runOf(ledger), 1, i > 0, doing), { value: { a: [1] } })
      assert.deepEqual(told, [false])
      await pass(REMEMBER - 1000)
      await ledger.once(runOf(ledger), 1, true, doing)
      assert.deepEqual(told, [false])
      await pass(2000)
      await ledger.once(runOf(ledger), 1, true, doing)
      // Nobody knows any more whether it was done.
      assert.deepEqual(told, [false, true])
    })

    it(`uses a slot again, with a storage ${where}, and has what was there before answered without doing it`, async () => {
      const ledger = ledgerOf(storage())
      const run = runOf(ledger)
      const { told, doing } = counting()
      for (const n of [1, 2, 3, 4, 1 + WINDOW])
        assert.deepEqual(await ledger.once(run, n, false, doing), { value: 'done' })
      assert.deepEqual(await ledger.once(run, 1, true, doing), ANSWERED)
      assert.deepEqual(await ledger.once(run, 2, true, doing), { value: 'done' })
      assert.equal(told.length, 5)
    })

    it(`notes only that there was an answer, with a storage ${where}, if that is long or no JSON`, async () => {
      const ledger = ledgerOf(storage())
      const run = runOf(ledger)
      const loop: unknown[] = []
      loop.push(loop)
      const answers = ['x'.repeat(65_534), 'x'.repeat(65_535), loop]
      for (const [i, answer] of answers.entries()) await ledger.once(run, i + 1, false, counting(answer).doing)
      const again = counting('again').doing
      assert.deepEqual(await ledger.once(run, 1, true, again), { value: answers[0] })
      assert.deepEqual(await ledger.once(run, 2, true, again), ANSWERED)
      assert.deepEqual(await ledger.once(run, 3, true, again), {
        error: { code: 'unserializable', message: 'the answer to this is not JSON' },
      })
    })
  }

  for (const [where, storage] of [
    ['in this process', memory],
    ['elsewhere', () => remote(memory())],
  ] as const)
    it(`keeps a slot for what has used it since, with a storage ${where}, when what its peer gave up ends late`, async () => {
      const ledger = ledgerOf(storage())
      const run = runOf(ledger)
      let end = (_: Outcome) => {}
      const slow = new Promise<Outcome>(resolve => {
        end = resolve
      })
      const first = ledger.once(run, 1, false, () => slow)
      const { told, doing } = counting()
      await ledger.once(run, 1 + WINDOW, false, doing)
      end({ value: 'late' })
      assert.deepEqual(await first, { value: 'late' })
      assert.deepEqual(await ledger.once(runOf(ledger), 1 + WINDOW, true, doing), { value: 'done' })
      assert.deepEqual(told, [false])
    })

  for (const [what, isLater] of [
    ['keeps a slot for what another node has noted since, when what its peer gave up ends late', true],
    ['keeps what the node has noted that took it for dead', false],
  ] as const)
    it(what, async t => {
      const values = remote(memory())
      const pass = stopClock(t)
      const [a, b] = ['a', 'b'].map(node => ledgerOf(values, { node })) as [Ledger, Ledger]
      let end = (_: Outcome) => {}
      const slow = new Promise<Outcome>(resolve => {
        end = resolve
      })
      const first = a.once(runOf(a), 1, false, () => slow)
      await pass(100)
      const n = isLater ? 1 + WINDOW : 1
      await b.once(runOf(b), n, !isLater, counting('of b').doing)
      end({ value: 'late' })
      assert.deepEqual(await first, { value: 'late' })
      const { told, doing } = counting()
      assert.deepEqual(await b.once(runOf(b), n, true, doing), { value: 'of b' })
      assert.deepEqual(told, [])
    })

  it('makes no promise where neither storage nor work make one', () => {
    const ledger = ledgerOf(memory())
    const run = runOf(ledger)
    const { doing } = counting()
    assert.deepEqual(ledger.once(run, 1, false, doing), { value: 'done' })
    assert.deepEqual(ledger.once(run, 1, true, doing), { value: 'done' })
  })

  it('has one of many who ask at once do it, on whichever node', async () => {
    const values = remote(memory())
    const ledgers = ['a', 'b', 'c'].map(node => ledgerOf(values, { node }))
    for (const node of ['a', 'b', 'c']) await new Leases(values, 'messaging:node', node, LEASE).renew()
    // The slots have been used before.
    for (const n of [1, 2]) await ledgers[0]!.once(runOf(ledgers[0]!), n, false, counting().doing)
    for (const n of [1 + WINDOW, 2 + WINDOW]) {
      const { told, doing } = counting(n)
      const runs = ledgers.map(ledger => [ledger, runOf(ledger)] as const)
      const asked = runs.flatMap(([ledger, run]) => [1, 2].map(() => ledger.once(run, n, true, doing)))
      assert.deepEqual(await Promise.all(asked), Array(6).fill({ value: n }))
      assert.equal(told.length, 1)
    }
  })

  it('joins what is under way on its own node', async () => {
    const ledger = ledgerOf(memory())
    const run = runOf(ledger)
    let end = (_: Outcome) => {}
    const first = ledger.once(run, 1, false, () => new Promise(resolve => (end = resolve)))
    const second = ledger.once(run, 1, true, counting().doing)
    end({ value: 'first' })
    assert.deepEqual(await Promise.all([first, second]), [{ value: 'first' }, { value: 'first' }])
  })

  it('waits for another node as long as that lives, then one does it again and is told so', async t => {
    const values = remote(memory())
    const pass = stopClock(t)
    const [dead, b, c] = ['a', 'b', 'c'].map(node => ledgerOf(values, { node })) as [Ledger, Ledger, Ledger]
    const lease = new Leases(values, 'messaging:node', 'a', LEASE)
    await lease.renew()
    void dead.once(runOf(dead), 1, false, () => new Promise(() => {}))
    await pass(100)
    const { told, doing } = counting('again')
    const asked = [b, c].map(ledger => ledger.once(runOf(ledger), 1, true, doing))
    await pass(LEASE - 1000)
    await lease.renew()
    await pass(LEASE - 1000)
    assert.deepEqual(told, [])
    await pass(2000)
    assert.deepEqual(await Promise.all(asked), [{ value: 'again' }, { value: 'again' }])
    assert.deepEqual(told, [true])
  })

  it('gives up waiting for another node when nobody waits for it', async t => {
    const values = remote(memory())
    const pass = stopClock(t)
    const [a, b] = ['a', 'b'].map(node => ledgerOf(values, { node })) as [Ledger, Ledger]
    await new Leases(values, 'messaging:node', 'a', LEASE).renew()
    void a.once(runOf(a), 1, false, () => new Promise(() => {}))
    await pass(100)
    const run = runOf(b)
    const asked = b.once(run, 1, true, counting().doing)
    run.connections = 0
    await pass(1000)
    assert.deepEqual(await asked, { error: { code: 'gone', message: 'nobody waits for this any more' } })
  })

  it('does nothing that it cannot note, and tells what it could not note as done when it is asked again', async () => {
    const failures: string[] = []
    const failed = (error: unknown) => void failures.push(String(error))
    let isDown = true
    const broken = { set: () => isDown, get: () => isDown }
    const ledger = ledgerOf(remote(memory(), broken), { failed })
    const run = runOf(ledger)
    const { told, doing } = counting()
    assert.deepEqual(await ledger.once(run, 1, false, doing), UNAVAILABLE)
    assert.deepEqual(told, [])
    isDown = false
    const breaking = (repeated: boolean) => {
      isDown = true
      return doing(repeated)
    }
    assert.deepEqual(await ledger.once(run, 2, false, breaking), { value: 'done' })
    isDown = false
    assert.deepEqual(await ledger.once(run, 2, true, doing), { value: 'done' })
    assert.deepEqual(told, [false, true])
    assert.ok(failures.length >= 2)
    assert.deepEqual(new Set(failures), new Set(['Error: no set', 'Error: no get']))
  })

  it('keeps 4 MiB of the longer answers of a run, and of the shorter ones all', async () => {
    const values = memory()
    const ledger = ledgerOf(values, { window: 1000 })
    const run = runOf(ledger)
    const long = 'x'.repeat(65_000)
    for (let n = 1; n <= 100; n++) await ledger.once(run, n, false, counting(long).doing)
    const kept = async (n: number) => (await ledger.once(run, n, true, counting().doing)).value === long
    assert.deepEqual([await kept(64), await kept(65), await kept(100)], [true, false, false])
    await ledger.once(run, 1001, false, counting('short').doing)
    assert.deepEqual(await ledger.once(run, 1001, true, counting().doing), { value: 'short' })
    // Its slot has let go of a long one.
    await ledger.once(run, 101, false, counting(long).doing)
    assert.equal(await kept(101), true)
  })

  for (const [where, storage] of [
    ['in this process', memory],
    ['elsewhere', () => remote(memory())],
  ] as const)
    describe(`with a storage ${where} and room for ten notes`, () => {
      const answer = 'x'.repeat(1000)
      const maxBytes = 10 * 1560
      const fill = async (ledger: Ledger, run: Run) => {
        for (let n = 1; n <= WINDOW; n++) await ledger.once(run, n, false, counting(answer).doing)
      }
      /** Whether what is asked again is done again, and told so. */
      const again = async (ledger: Ledger, run: Run) => {
        const all: (boolean | undefined)[] = []
        for (let n = 1; n <= WINDOW; n++) {
          const { told, doing } = counting(answer)
          assert.deepEqual(await ledger.once(run, n, true, doing), { value: answer })
          all.push(told[0])
        }
        return all
      }
      const kept = Array(WINDOW).fill(undefined)

      it('gives up what those have noted who left longest ago, and tells it, on other nodes too', async () => {
        const values = storage()
        const ledger = ledgerOf(values, { maxBytes })
        const other = ledgerOf(values, { node: 'b' })
        const runs = ['one', 'two', 'three'].map(peer => runOf(ledger, peer)) as [Run, Run, Run]
        for (const [i, run] of runs.slice(0, 2).entries()) {
          await fill(ledger, run)
          Object.assign(run, { connections: 0, leftAt: 2 - i })
        }
        const elsewhere = runOf(other, 'two')
        await elsewhere.ready
        await fill(ledger, runs[2])
        assert.deepEqual(await again(other, elsewhere), Array(WINDOW).fill(true))
        assert.deepEqual(await again(ledger, runs[0]), kept)
        assert.deepEqual(await again(ledger, runs[2]), kept)
      })

      it('gives up the older notes of who has most when nobody has left, but not what is worked on', async () => {
        const values = storage()
        const ledger = ledgerOf(values, { maxBytes })
        const [slow, most, last] = ['slow', 'most', 'last'].map(peer => runOf(ledger, peer)) as [Run, Run, Run]
        void ledger.once(slow, 1, false, () => new Promise(() => {}))
        for (const n of [2, 3]) await ledger.once(slow, n, false, counting(answer).doing)
        await fill(ledger, most)
        for (const n of [1, 2, 3]) await ledger.once(last, n, false, counting(answer).doing)
        // This was the eleventh.
        await ledger.once(slow, 4, false, counting(answer).doing)
        assert.deepEqual((await again(ledger, most)).slice(0, 2), [true, true])
        Object.assign(slow, { connections: 0, leftAt: 1 })
        await fill(ledger, runOf(ledger, 'next'))
        assert.equal(await values.get('messaging:done:slow:e:1'), '1 by a')
        assert.equal(await values.get('messaging:done:slow:e:2'), undefined)
      })

      it('has room again when notes have ended by themselves', async () => {
        const ledger = ledgerOf(storage(), { maxBytes })
        const runs = ['one', 'two', 'three'].map(peer => runOf(ledger, peer)) as [Run, Run, Run]
        await fill(ledger, runs[0])
        ledger.release(runs[0])
        await fill(ledger, runs[1])
        await fill(ledger, runs[2])
        assert.deepEqual([await again(ledger, runs[1]), await again(ledger, runs[2])], [kept, kept])
      })
    })
})
