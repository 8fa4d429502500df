import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Messaging } from '../../../filters/messaging/wire/message.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { ground } from '../../support/ground.ts'
import { follow, responseTo } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'

for (const over of ['tcp', 'ws'] as const) {
  describe(`a messaging client over ${over} whose server does not respond`, () => {
    async function setUp(t: TestContext) {
      const received: Messaging[] = []
      const onMessage = (message: Messaging, line: { send(message: Messaging): void }) => {
        received.push(message)
        line.send(responseTo(message, 'done'))
      }
      const { port, lines } = await ground(t, { over, onMessage })
      const proxy = await startFaultProxy({ host: '127.0.0.1', port })
      t.after(() => proxy.stop())
      const settings = { heartbeat: 250, timeout: 1000 }
      const { client, events, opened } = follow(t, `${over}://127.0.0.1:${proxy.port}`, settings)
      await opened()
      // Without attempts that took too long.
      events.length = 0
      return { proxy, client, events, opened, received, lines }
    }
    const count = (received: readonly Messaging[], name: string) =>
      received.filter(message => message.name === name).length

    it('reconnects, and sends pending messages again', async t => {
      const { proxy, client, events, opened, received } = await setUp(t)
      proxy.halfOpen()
      const asked = client.call('telemetry', [], {}, { timeout: 60_000 })
      const delivered = client.deliver('land')
      await until(() => events.some(([type]) => type === 'close'), 'the reconnect')
      assert.deepEqual(events.find(([type]) => type === 'close')![1], {
        code: 1006,
        reason: 'the server does not respond',
        retryIn: 0,
      })
      proxy.resume()
      assert.equal(await asked, 'done')
      await delivered
      await opened()
      assert.deepEqual([count(received, 'telemetry'), count(received, 'land')], [1, 1])
    })

    it('does not take it for a clever-show server', async t => {
      const { proxy, client, received } = await setUp(t)
      proxy.halfOpen()
      const { accepted } = proxy
      let isDelivered = false
      const delivered = client.deliver('land').then(() => {
        isDelivered = true
      })
      await until(() => proxy.accepted >= accepted + 2, 'another attempt without a response')
      assert.equal(isDelivered, false)
      proxy.resume()
      await delivered
      assert.equal(count(received, 'land'), 1)
    })

    it('waits longer after much data, as the network may be slow', async t => {
      const { proxy, client, events } = await setUp(t)
      proxy.halfOpen()
      const delivered = client.deliver('land', ['x'.repeat(100_000)], {}, { timeout: 2000 })
      await assert.rejects(delivered, { code: 'timeout' })
      assert.ok(!events.some(([type]) => type === 'close'), '8 heartbeats are not too many for 100 kB')
    })

    it('stays connected while the server responds to requests', async t => {
      const { client, events, received } = await setUp(t)
      await until(() => count(received, 'fws.clock') >= 3, 'three requests')
      assert.ok(!events.some(([type]) => type === 'close'))
      assert.equal(client.state, 'open')
    })
  })
}
