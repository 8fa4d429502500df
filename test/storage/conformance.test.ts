import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { storageConformance } from '../../src/testing/storage.ts'
import { open, options } from '../../storage/memory.ts'
import { folder } from '../support/cli.ts'
import { root } from '../support/root.ts'

storageConformance('memory', () =>
  open({
    options: {
      'memory-channels': options['memory-channels'].default,
      'memory-history': options['memory-history'].default,
    },
  }),
)

/** A storage that breaks a rule in nearly every operation. */
const BROKEN = `
  const sets = new Map(), values = new Map(), channels = new Map(), logs = new Map()
  const setOf = key => sets.get(key) ?? sets.set(key, new Set()).get(key)
  const turn = () => new Promise(resolve => setImmediate(resolve))
  const endAfter = (key, ms) => ms && setTimeout(() => values.delete(key), ms)
  let last = 8
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
    history: {
      entries: 12,
      append(log, payload) {
        const id = String(++last)
        logs.set(log, [...(logs.get(log) ?? []), { id, at: Date.now(), payload }])
        return id
      },
      read: log => logs.get(log) ?? [],
      trim: () => {},
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
      timeout: 60_000,
    })
    const failed = [...stdout.matchAll(/^\s*not ok \d+ - (.*)$/gm)].map(([, name]) => name!)
    assert.equal(status, 1, stdout)
    assert.deepEqual(
      new Set(failed),
      new Set([
        'keeps each member once',
        'returns a copy without later changes',
        'ifAbsent: exactly one of many concurrent callers sets',
        'a set without a time to live removes an earlier one',
        'increments atomically, from 0 if absent',
        'refuses to increment a value that is not an integer',
        'take: exactly one of many concurrent callers gets the value',
        'delivers strings and Buffers once, in order, to each subscription of the channel',
        'does not deliver after the end of a subscription',
        'reads in order, after an id, up to a limit',
        'reads the newest entries, oldest first',
        'keeps exactly the newest `entries`',
        'trims up to and including an id',
        // The suites that contain them.
        'sets',
        'values',
        'bus',
        'history',
        'storage broken',
        'storage small',
      ]),
    )
    assert.match(stdout, /# SKIP no values/)
  })
})
