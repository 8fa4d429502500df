import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { Peer, raw, serve, until } from '../support/peer.ts'

function printing() {
  const stdout = new PassThrough()
  let printed = ''
  stdout.on('data', chunk => {
    printed += chunk
  })
  return { stdout, printed: () => printed }
}

describe('stdout-rawdata', () => {
  it('prints bytes that are neither WebSocket nor HTTP: echo Morgan | nc localhost 9000', async t => {
    const { stdout, printed } = printing()
    const server = await serve(t, { filters: ['stdout-rawdata'], stdout })
    await (await raw(server.url, 'Morgan\n')).answer()
    assert.equal(printed(), '--RAWDATA--\nMorgan\n\n')
  })

  it('prints the handshake, then the bytes of each frame', async t => {
    const { stdout, printed } = printing()
    const server = await serve(t, { filters: ['stdout-rawdata'], stdout })
    const peer = await Peer.open(`${server.url}/room?name=ann`)
    assert.match(printed(), /^--RAWDATA--\nGET \/room\?name=ann HTTP\/1\.1\r\n/)
    const before = printed().length
    peer.send('hi')
    await until(() => printed().length > before, 'the frame')
    const shown = printed().slice(before)
    // Neither the byte with FIN and opcode nor the one with mask bit and length is UTF-8.
    assert.match(shown, /^--RAWDATA--\n\ufffd\ufffd/)
  })

  it('passes the bytes to the server unchanged', async t => {
    const { stdout } = printing()
    const server = await serve(t, { filters: ['stdout-rawdata', 'echo'], stdout })
    const peer = await Peer.open(server.url)
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256))
    peer.send('text')
    peer.send(bytes)
    assert.deepEqual(await peer.get(2), ['text', bytes])
  })
})
