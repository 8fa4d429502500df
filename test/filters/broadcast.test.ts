import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { message } from '../../filters/broadcast.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'

describe('broadcast', () => {
  it('broadcasts each message to all clients except its sender, and passes it on', () => {
    const client = fakeClient()
    assert.equal(message('hi', client), undefined)
    assert.deepEqual(client.broadcasts, [{ payload: 'hi', to: { except: client } }])
    assert.deepEqual(client.sent, [])
  })

  it('reaches all other clients, strings as text and buffers as binary', async t => {
    const server = await testServer(['broadcast'])
    t.after(() => server.stop())
    const [one, two, three] = [await server.connect(), await server.connect(), await server.connect()]
    await one.say('text')
    await two.say(Buffer.from([0, 255]))
    assert.deepEqual(one.received, [Buffer.from([0, 255])])
    assert.deepEqual(two.received, ['text'])
    assert.deepEqual(three.received, ['text', Buffer.from([0, 255])])
  })

  it('skips clients that have left, and works with a single client', async t => {
    const server = await testServer(['broadcast'])
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await two.leave()
    await one.say('anybody?')
    assert.deepEqual([one.received, two.received], [[], []])
    assert.equal(server.server.counters.errors, 0)
  })
})
