import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { storageConformance } from '../../src/testing/storage.ts'
import { folder } from '../support/cli.ts'
import { openMemory } from '../support/memory-storage.ts'
import { root } from '../support/root.ts'

storageConformance('memory', openMemory)

/** A storage that breaks a rule in nearly every operation. */
const BROKEN = `
  const sets = new Map(), values = new Map(), channels = new Map()
  const setOf = key => sets.get(key) ?? sets.set(key, new Set()).get(key)
  const turn = () => new Promise(resolve => setImmediate(resolve))
  const endAfter = (key, ms) => ms && setTimeout(() => values.delete(key), ms)
  const streams = new Map()
  const streamOf = ({ topic }) => {
    const name = topic.toLowerCase().toWellFormed()
    const found = streams.get(name) ?? { entries: [], attributes: {} }
    streams.set(name, found)
    return found
  }
  let listener
  // Positions without an epoch, offsets from 0.
  const topOf = stream => ({ epoch: 'epoch', offset: stream.entries.length - 1 })
  export const open = () => ({
    sets: {
      get: setOf,
      add: (key, member) => void setOf(key).add(member),
      remove: () => {},
    },
    values: {
      get: key => values.get(key),
      set(key, value, { ttlMs } = {}) {
        values.set(key, value)
        endAfter(key, ttlMs)
        return true
      },
      async increment(key, by = 1, ttlMs) {
        const sum = Number(values.get(key) ?? 0) + by
        if (!values.has(key)) endAfter(key, ttlMs)
        // Not with a time to live, whose end in this turn would sometimes break another rule.
        if (ttlMs === undefined) await turn()
        values.set(key, String(sum))
        return sum
      },
      async take(key) { const value = values.get(key); await turn(); values.delete(key); return value },
      delete: key => void values.delete(key),
    },
    bus: {
      publish(channel, payload) { for (const deliver of channels.get(channel) ?? []) deliver(String(payload)) },
      subscribe(channel, deliver) {
        channels.set(channel, [...(channels.get(channel) ?? []), deliver])
        return () => {}
      },
    },
    streams: {
      start: given => { listener = given },
      isReady: () => true,
      append(ref, appends) {
        const stream = streamOf(ref)
        setTimeout(() => stream.entries.splice(0), Math.min(ref.bounds.ttlMs, 1000))
        const outcomes = appends.map(({ entries, set }) => {
          stream.entries.push(...entries.map((entry, i) => ({ ...entry, offset: stream.entries.length + i, at: 0, origin: '' })))
          Object.assign(stream.attributes, set)
          return { position: topOf(stream), repeated: false }
        })
        for (let i = 0; i < 9; i++) listener.announced({ topic: ref.topic, top: topOf(stream), entries: stream.entries })
        return outcomes
      },
      read(ref) {
        const stream = streamOf(ref)
        return { entries: stream.entries, top: topOf(stream), floor: topOf(stream), attributes: stream.attributes }
      },
      tops: refs => refs.map(ref => topOf(streamOf(ref))),
      trim: () => {},
      remove: () => {},
      listen: () => {},
      ignore: () => {},
    },
  })
`

describe('the conformance suite', () => {
  it('finds broken promises of a storage, and skips missing capabilities', t => {
    const suite = pathToFileURL(join(root, 'src/testing/storage.ts')).href
    const files = {
      'broken.test.mjs': `import { storageConformance } from ${JSON.stringify(suite)}
        ${BROKEN}
        storageConformance('broken', open)
        storageConformance('small', () => ({ sets: open().sets }))`,
    }
    const file = join(folder(t, files), 'broken.test.mjs')
    const loader = import.meta.resolve('tsx')
    // Without the variable that makes a child of a test runner use its protocol.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const { status, stdout } = spawnSync(process.execPath, ['--import', loader, '--test-reporter=tap', file], {
      env,
      encoding: 'utf8',
      timeout: 240_000,
    })
    const [broken] = stdout.split('# Subtest: storage small')
    const passed = [...broken!.matchAll(/^\s*ok \d+ - (?!.*# SKIP)(.*)$/gm)].map(([, name]) => name!)
    assert.equal(status, 1, stdout)
    assert.deepEqual(passed, [
      'has at least one capability',
      'an unknown key is an empty set',
      'distinguishes names and members that differ in any code unit',
      'keeps all of many concurrent updates',
      'set, get, delete',
      'expires after its time to live',
      'increments large numbers exactly',
      'an increment does not extend the time to live of the first',
      'a call takes the most entries, and the most bytes',
      'call numbers may have gaps, and each node has its own',
      'ttl: expired entries make room',
      'concurrent first uses agree on one epoch',
    ])
    assert.match(stdout, /# SKIP no values/)
  })
})
