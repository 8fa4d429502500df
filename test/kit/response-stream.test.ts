import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { ResponseStream } from '../../src/kit/index.ts'
import { until } from '../support/peer.ts'

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** The responses to pipelined requests, and the socket of their peer. */
async function responses(t: TestContext, count = 1) {
  const found: ServerResponse[] = []
  const http = createServer((_, res) => void found.push(res)).listen(0, '127.0.0.1')
  await once(http, 'listening')
  const socket = connect((http.address() as AddressInfo).port, '127.0.0.1')
  t.after(() => {
    socket.destroy()
    http.close()
    http.closeAllConnections()
  })
  const peer = { socket, text: '' }
  socket.on('error', () => {})
  socket.on('data', chunk => {
    peer.text += chunk
  })
  socket.write(REQUEST.repeat(count))
  await until(() => found.length === count)
  return { found, peer }
}

describe('ResponseStream', () => {
  it('ends the response after what was written, and closes', async t => {
    const { found, peer } = await responses(t)
    const stream = new ResponseStream(found[0]!)
    stream.write('one')
    stream.write('two')
    stream.finish(1000)
    await once(stream, 'close')
    await until(() => peer.text.endsWith('0\r\n\r\n'))
    assert.match(peer.text, /\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/)
    assert.deepEqual([found[0]!.writableFinished, peer.socket.destroyed], [true, false])
  })

  it('closes with the connection, and counts what the peer takes', async t => {
    const { found, peer } = await responses(t)
    const stream = new ResponseStream(found[0]!)
    stream.write('x'.repeat(100_000))
    await until(() => peer.text.length > 100_000)
    assert.ok(stream.acceptedBytes > 100_000)
    assert.equal(stream.writableLength, 0)
    peer.socket.resetAndDestroy()
    await once(stream, 'close')
    stream.write('late')
    assert.deepEqual([stream.destroyed, found[0]!.destroyed], [true, true])
  })

  it('behind an earlier response waits, and counts as not taken', async t => {
    const { found, peer } = await responses(t, 2)
    const stream = new ResponseStream(found[1]!)
    stream.write('second')
    assert.deepEqual([stream.acceptedBytes, stream.writableLength], [0, 6])
    found[0]!.end('first')
    await until(() => peer.text.includes('second'))
    await until(() => stream.writableLength === 0)
    assert.ok(stream.acceptedBytes > 0)
  })

  for (const [code, ms] of [
    [1013, 0],
    [1001, 10_000],
  ] as const)
    it(`disconnects a peer that does not read after ${ms} ms with ${code}`, async t => {
      const { found, peer } = await responses(t)
      peer.socket.pause()
      const stream = new ResponseStream(found[0]!)
      // More than the kernel keeps.
      stream.write(Buffer.alloc(24_000_000))
      t.mock.timers.enable({ apis: ['setTimeout'] })
      stream.finish(code)
      assert.equal(stream.destroyed, ms === 0)
      t.mock.timers.tick(Math.max(0, ms - 1))
      assert.equal(stream.destroyed, ms === 0)
      t.mock.timers.tick(1)
      assert.deepEqual([stream.destroyed, found[0]!.destroyed], [true, true])
    })
})
