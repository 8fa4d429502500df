import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { RunningServer } from '../../src/index.ts'
import { randomFrom } from '../../src/testing/random-from.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'
import { topicsAt, View } from '../support/topics.ts'

const RUNS = Number(process.env.RUNS ?? 30)
const STEPS = 30
const TOPIC = 'chat/1'

/** Numbers without a gap or a repetition, except after a reset, which may leave some out. */
function check(seen: readonly unknown[]): void {
  let last: number | undefined
  let isReset = false
  for (const one of seen) {
    if (typeof one !== 'number') isReset = true
    else {
      assert.ok(last === undefined || (isReset ? one > last : one === last + 1), `${one} after ${last}`)
      last = one
      isReset = false
    }
  }
}

describe('a topic of the client, with random faults', () => {
  for (let run = 1; run <= RUNS; run++)
    it(`has each message once and in order, or says that some are missing, seed ${run}`, async t => {
      const random = randomFrom(run)
      const port = await freePort()
      const options = { filters: ['streams', 'centrifuge'], streamsRules: ['chat/* size=10 ttl=5m'], drain: 0.1, port }
      let server: RunningServer = await serve(t, options)
      const proxy = await startFaultProxy({ host: '127.0.0.1', port })
      t.after(() => proxy.stop())
      const topics = topicsAt(t, `ws://127.0.0.1:${proxy.port}`, { firstDelay: 5, maxDelay: 20 })
      const plain = new View(topics, TOPIC, {})
      const seen: unknown[] = []
      const views: View[] = []
      /** Continues at the position of the view before. */
      const subscribe = () => {
        const after = views.at(-1)?.position
        views.at(-1)?.unsubscribe()
        views.push(
          new View(other, TOPIC, {
            after,
            newest: 4,
            onMessage: number => seen.push(number),
            onReset: reason => seen.push(reason),
          }),
        )
      }
      const other = topicsAt(t, `ws://127.0.0.1:${proxy.port}`, { firstDelay: 5, maxDelay: 20 })
      subscribe()
      await until(() => plain.position !== undefined && views[0]!.position !== undefined)
      let number = 0
      const append = async (count: number) => {
        for (let i = 0; i < count; i++) await server.append(TOPIC, `${++number}`)
      }
      for (let step = 0; step < STEPS; step++) {
        const chance = random()
        if (chance < 0.4) await append(1 + Math.floor(random() * 4))
        else if (chance < 0.5) proxy.cut()
        else if (chance < 0.6) {
          proxy.refuse()
          await append(Math.floor(random() * 14))
          await proxy.accept()
        } else if (chance < 0.75) subscribe()
        else if (chance < 0.8) {
          await server.close()
          server = await serve(t, options)
        } else if (chance < 0.9) void append(2)
        else await new Promise(resolve => setTimeout(resolve, random() * 30))
      }
      // After a reset without history the next message is the first.
      const haveLast = () => plain.seen.at(-1) === number && seen.at(-1) === number
      for (let attempt = 0; attempt < 100 && !haveLast(); attempt++) {
        await append(1)
        await until(haveLast, '', 1000).catch(() => {})
      }
      assert.ok(haveLast(), `${number}, seen ${plain.seen.at(-1)} and ${seen.at(-1)}`)
      check(plain.seen)
      check(seen)
    })
})
