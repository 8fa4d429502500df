import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { consumer } from '../../filters/broadcast-pubsub.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'
import { Peer, serve } from '../support/peer.ts'

describe('broadcast-pubsub', () => {
  it("sends an event's payload to everyone on this node alone, and passes it on", () => {
    const { server, broadcasts } = fakeClient()
    assert.equal(consumer({ channel: 'global', payload: 'news' }, server), undefined)
    assert.deepEqual(broadcasts, [{ payload: 'news', to: { local: true } }])
  })

  it('reaches every client, text as text and binary as binary', async t => {
    const server = await testServer(['broadcast-pubsub'])
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await server.publish('global', 'text')
    await server.publish('other', Buffer.from([0, 255]))
    for (const { received } of [one, two]) assert.deepEqual(received, ['text', Buffer.from([0, 255])])
  })

  it('hears the channels of the storage, and no others', async t => {
    const server = await serve(t, { filters: ['broadcast-pubsub'], memoryChannels: ['global', 'alerts'] })
    const peer = await Peer.open(server.url)
    await server.publish('global', 'one')
    await server.publish('elsewhere', 'two')
    await server.publish('alerts', 'three')
    assert.deepEqual(await peer.get(2), ['one', 'three'])
    assert.equal(server.counters.events, 2)
  })

  it('hears the channel "global" when none was named', async t => {
    const server = await serve(t, { filters: ['broadcast-pubsub'] })
    const peer = await Peer.open(server.url)
    await server.publish('global', 'hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })
})
