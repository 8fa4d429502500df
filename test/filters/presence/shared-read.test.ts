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
  /** When each read has begun and ended. */
  const times: { readonly begun: number; ended: number }[] = []
  const shared = new SharedRead(
    () =>
      new Promise<number>((resolve, reject) => {
        const number = ends.length + 1
        const time = { begun: performance.now(), ended: 0 }
        times.push(time)
        ends.push(failure => {
          time.ended = performance.now()
          if (failure === undefined) resolve(number)
          else reject(failure)
        })
      }),
  )
  const begun = async (count: number) => {
    while (ends.length < count) await new Promise(setImmediate)
    return ends[count - 1]!
  }
  return { shared, begun, count: () => ends.length, times }
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
    const { shared, begun, count, times } = reads()
    const first = shared.run()
    const end = await begun(1)
    while (performance.now() - times[0]!.begun < 20) await new Promise(setImmediate)
    end()
    await first
    const next = shared.run()
    assert.equal(count(), 1)
    const endNext = await begun(2)
    const [{ begun: since, ended }, { begun: again }] = times as [(typeof times)[0], (typeof times)[0]]
    // A timer may be a millisecond early, and the longest pause is a second.
    assert.ok(again - ended > Math.min(3 * (ended - since), 1000) - 2, `${since} to ${ended}, then ${again}`)
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
  // The pause after the last read is still to come; the longest is a second.
  const least = reads.slice(0, -1).reduce((sum, ms) => sum + ms + Math.min(2.5 * ms, 990), 0)
  assert.ok(duration > least, `${reads} ms of ${duration} ms`)
})
