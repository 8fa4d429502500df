import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { message } from '../../filters/broadcast.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'

describe('broadcast', () => {
  it('sends every message to everyone but its sender, and passes it on', () => {
    const client = fakeClient()
    assert.equal(message('hi', client), undefined)
    assert.deepEqual(client.broadcasts, [{ payload: 'hi', to: { except: client } }])
    assert.deepEqual(client.sent, [])
  })

  it('reaches all others, text as text and binary as binary', async t => {
    const server = await testServer(['broadcast'])
    t.after(() => server.stop())
    const [one, two, three] = [await server.connect(), await server.connect(), await server.connect()]
    await one.say('text')
    await two.say(Buffer.from([0, 255]))
    assert.deepEqual(one.received, [Buffer.from([0, 255])])
    assert.deepEqual(two.received, ['text'])
    assert.deepEqual(three.received, ['text', Buffer.from([0, 255])])
  })

  it('reaches nobody who has left, and needs no other', async t => {
    const server = await testServer(['broadcast'])
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await two.leave()
    await one.say('anybody?')
    assert.deepEqual([one.received, two.received], [[], []])
    assert.equal(server.server.counters.errors, 0)
  })
})
