import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SharedRead } from '../../../filters/presence/shared-read.ts'
import type { Streams } from '../../../src/index.ts'
import { openMemory } from '../../support/memory-storage.ts'
import { PresenceNode } from '../../support/presence-node.ts'

/** Reads that the test ends; each gives its number. */
function reads() {
  const ends: ((failure?: Error) => void)[] = []
  const shared = new SharedRead(
    () =>
      new Promise<number>((resolve, reject) => {
        const number = ends.length + 1
        ends.push(failure => (failure === undefined ? resolve(number) : reject(failure)))
      }),
  )
  const begun = async (count: number) => {
    while (ends.length < count) await new Promise(setImmediate)
    return ends[count - 1]!
  }
  return { shared, begun, count: () => ends.length }
}

describe('a shared read', () => {
  it('is not given to callers that come after it has begun: they share the next one', async () => {
    const { shared, begun, count } = reads()
    const first = shared.run()
    const later = [shared.run(), shared.run()]
    assert.equal(count(), 1)
    ;(await begun(1))()
    assert.equal(await first, 1)
    ;(await begun(2))()
    assert.deepEqual(await Promise.all(later), [2, 2])
  })

  it('that fails does not fail the next one', async () => {
    const { shared, begun } = reads()
    const [first, second] = [shared.run(), shared.run()]
    ;(await begun(1))(new Error('no answer'))
    await assert.rejects(first, { message: 'no answer' })
    ;(await begun(2))()
    assert.equal(await second, 2)
  })

  it('follows the last one after three times its duration', async () => {
    const { shared, begun, count } = reads()
    const since = performance.now()
    const first = shared.run()
    const end = await begun(1)
    while (performance.now() - since < 20) await new Promise(setImmediate)
    end()
    await first
    const duration = performance.now() - since
    const next = shared.run()
    assert.equal(count(), 1)
    const endNext = await begun(2)
    assert.ok(performance.now() - since > 3 * duration)
    endNext()
    assert.equal(await next, 2)
    assert.equal(shared.isBusy, true)
  })
})

it('lists of a topic without clients on this node read a quarter of the time', async t => {
  const { streams, values, sets } = openMemory()
  const reads: number[] = []
  const slow = new Proxy(streams!, {
    get(engine, key) {
      if (key !== 'read') return Reflect.get(engine, key).bind(engine)
      return async (...args: Parameters<Streams['read']>) => {
        const since = performance.now()
        await sleep(20)
        reads.push(performance.now() - since)
        return engine.read(...args)
      }
    },
  })
  const node = await PresenceNode.start(slow, { values: values!, sets: sets! })
  t.after(() => node.stop())
  const since = performance.now()
  for (let i = 0; i < 5; i++) await node.presence.list('room')
  const duration = performance.now() - since
  // The pause after the last read is still to come.
  const reading = reads.slice(0, -1).reduce((sum, ms) => sum + ms)
  assert.ok(duration > 3.5 * reading, `${reading} ms of ${duration} ms`)
})
