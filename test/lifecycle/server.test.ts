import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createServer } from '../../src/index.ts'
import { Peer } from '../support/peer.ts'

describe('a running server', () => {
  it('has methods that work without it', async t => {
    const server = await createServer({ port: 0, logLevel: 'silent', filters: [{ message() {} }] })
    t.after(() => server.close())
    const { url, clients, closed, broadcast, disconnect, reload, close } = server
    const peer = await Peer.open(url)
    broadcast('hello')
    assert.deepEqual(await peer.get(1), ['hello'])
    disconnect({ id: [...clients.keys()][0]! }, 4000, 'enough')
    assert.deepEqual(await peer.end(), { code: 4000, reason: 'enough' })
    assert.equal(reload(), false)
    await close()
    await closed
  })

  it('has a `stop` that works without it', async t => {
    const server = await createServer({ port: 0, logLevel: 'silent', filters: [{ message() {} }] })
    t.after(() => server.close())
    const { closed, stop } = server
    stop('enough')
    await closed
  })
})
