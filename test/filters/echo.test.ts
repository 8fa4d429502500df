import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { message } from '../../filters/echo.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'

describe('echo', () => {
  it('sends each message back, and passes it on', () => {
    const client = fakeClient()
    assert.equal(message('hi', client), undefined)
    assert.deepEqual([client.sent, client.broadcasts], [['hi'], []])
  })

  it('answers only the sender, strings as text and buffers as binary', async t => {
    const server = await testServer(['echo'])
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await one.say('text')
    await one.say('')
    await one.say(Buffer.from([0, 255]))
    assert.deepEqual(one.received, ['text', '', Buffer.from([0, 255])])
    assert.deepEqual(two.received, [])
  })
})
