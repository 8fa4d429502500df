import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { consumer } from '../../filters/broadcast-pubsub.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'
import { Peer, serve } from '../support/peer.ts'

describe('broadcast-pubsub', () => {
  it("broadcasts an event's payload on this node only, and passes the event on", () => {
    const { server, broadcasts } = fakeClient()
    assert.equal(consumer({ channel: 'global', payload: 'news' }, server), undefined)
    assert.deepEqual(broadcasts, [{ payload: 'news', to: { local: true } }])
  })

  it('reaches all clients, strings as text and buffers as binary', async t => {
    const server = await testServer(['broadcast-pubsub'])
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await server.publish('global', 'text')
    await server.publish('other', Buffer.from([0, 255]))
    for (const { received } of [one, two]) assert.deepEqual(received, ['text', Buffer.from([0, 255])])
  })

  it('handles events of the configured channels only', async t => {
    const server = await serve(t, { filters: ['broadcast-pubsub'], memoryChannels: ['global', 'alerts'] })
    const peer = await Peer.open(server.url)
    await server.publish('global', 'one')
    await server.publish('elsewhere', 'two')
    await server.publish('alerts', 'three')
    assert.deepEqual(await peer.get(2), ['one', 'three'])
    assert.equal(server.counters.events, 2)
  })

  it('handles events of the channel "global" by default', async t => {
    const server = await serve(t, { filters: ['broadcast-pubsub'] })
    const peer = await Peer.open(server.url)
    await server.publish('global', 'hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })
})
