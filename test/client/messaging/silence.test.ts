import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Messaging } from '../../../filters/messaging/wire/message.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { type GroundOptions, ground } from '../../support/ground.ts'
import { answer, follow } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'

for (const over of ['tcp', 'ws'] as const) {
  describe(`a messaging client over ${over} whose server falls silent`, () => {
    async function setUp(t: TestContext, options: GroundOptions = {}) {
      const heard: Messaging[] = []
      const hear = (said: Messaging, line: { send(message: Messaging): void }) => {
        heard.push(said)
        line.send(answer(said, 'done'))
      }
      const { port, lines } = await ground(t, { over, hear, ...options })
      const proxy = await startFaultProxy({ host: '127.0.0.1', port })
      t.after(() => proxy.stop())
      const { client, told, opened } = follow(t, `${over}://127.0.0.1:${proxy.port}`, { heartbeat: 50, timeout: 300 })
      await opened()
      return { proxy, client, told, opened, heard, lines }
    }
    const count = (heard: readonly Messaging[], name: string) => heard.filter(said => said.name === name).length

    it('connects anew, and what was under way goes there', async t => {
      const { proxy, client, told, opened, heard } = await setUp(t)
      proxy.halfOpen()
      const asked = client.call('telemetry')
      const delivered = client.deliver('land')
      await until(() => told.some(([type]) => type === 'close'), 'the end of the silence')
      assert.deepEqual(told.find(([type]) => type === 'close')![1], {
        code: 1006,
        reason: 'the server is silent',
        retryIn: 0,
      })
      proxy.resume()
      assert.equal(await asked, 'done')
      await delivered
      await opened(2)
      assert.deepEqual([count(heard, 'telemetry'), count(heard, 'land')], [1, 1])
    })

    it('does not take it for another one that answers nothing', async t => {
      const { proxy, client, heard } = await setUp(t)
      proxy.halfOpen()
      const { accepted } = proxy
      let isDelivered = false
      const delivered = client.deliver('land').then(() => {
        isDelivered = true
      })
      await until(() => proxy.accepted >= accepted + 2, 'another attempt, that hears nothing either')
      assert.equal(isDelivered, false)
      proxy.resume()
      await delivered
      assert.equal(count(heard, 'land'), 1)
    })

    it('waits longer for the answer to much, as a line may be slow', async t => {
      const { proxy, client, told } = await setUp(t)
      proxy.halfOpen()
      const delivered = client.deliver('land', ['x'.repeat(100_000)], {}, { timeout: 1000 })
      await assert.rejects(delivered, { code: 'timeout' })
      assert.ok(!told.some(([type]) => type === 'close'), '20 beats are not too many for 100 kB')
    })

    it('stays with one that says nothing of itself, but answers', async t => {
      const { client, told, heard } = await setUp(t)
      await until(() => count(heard, 'fws.clock') >= 3, 'three questions')
      assert.ok(!told.some(([type]) => type === 'close'))
      assert.equal(client.state, 'open')
    })
  })
}
