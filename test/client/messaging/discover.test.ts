import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { discover } from '../../../client/messaging/discover.ts'
import { frameOf } from '../../../filters/messaging/wire/message.ts'
import { action, door, framed, headerOf, TcpPeer, vector } from '../../support/messaging.ts'
import { freePort } from '../../support/port.ts'

/** Sends datagrams repeatedly until the test ends. */
async function sendRepeatedly(
  t: { after(fn: () => void): void },
  port: number,
  datagrams: readonly Buffer[],
): Promise<void> {
  const socket = createSocket('udp4')
  await once(socket.bind(0, '127.0.0.1'), 'listening')
  const timer = setInterval(() => {
    for (const datagram of datagrams) socket.send(datagram, port, '127.0.0.1')
  }, 10)
  t.after(() => {
    clearInterval(timer)
    socket.close()
  })
}

const kwargs = { host: '10.0.0.1', port: '1', id: '0042', start_time: '1' }
const wrong = [
  Buffer.alloc(0),
  Buffer.alloc(1),
  Buffer.alloc(48),
  Buffer.alloc(60_000, '{'),
  Buffer.from([0xff, 0xff, 0x7b]),
  framed('null'),
  framed('[]'),
  framed(headerOf('null', { action: 'server_ip' }), 'null'),
  framed(headerOf('{}', { action: 'server_ip' }), '{}'),
  framed(headerOf('{"kwargs": null}', { action: 'server_ip' }), '{"kwargs": null}'),
  framed(headerOf('{"kwargs": {}}', { action: 'server_ip', 'content-length': -1 }), '{"kwargs": {}}'),
  vector('py3/broadcast/server_ip').subarray(0, -1),
  Buffer.concat([vector('py3/broadcast/server_ip'), vector('py3/broadcast/server_ip')]),
  action('server', [], kwargs),
  frameOf({ type: 'request', name: 'server_ip', id: '1', args: [], kwargs }),
  action('server_ip', [], { ...kwargs, x: 'x'.repeat(1024) }),
  action('server_ip', [], { ...kwargs, host: '10.0.0.1/?' }),
  action('server_ip', [], { ...kwargs, host: 'a'.repeat(254) }),
  action('server_ip', [], { ...kwargs, host: ['10.0.0.1'] }),
  action('server_ip', [], { ...kwargs, port: '0' }),
  action('server_ip', [], { ...kwargs, port: '65536' }),
  action('server_ip', [], { ...kwargs, port: 25_000 }),
  action('server_ip', [], { ...kwargs, port: '1e3' }),
]

describe('discover', () => {
  it('finds a server that announces itself', async t => {
    const port = await freePort()
    const found = discover({ port, host: '127.0.0.1', timeout: 10_000 })
    const announce = { messagingAnnounce: true, messagingAnnounceTo: `127.0.0.1:${port}`, messagingAnnounceEvery: 0.1 }
    const room = await door(t, ['echo'], announce)
    const { host, port: announced, id } = await found
    assert.deepEqual([host, announced], ['127.0.0.1', room.port])
    assert.match(id, /^\d{4}$/)
    const ann = await TcpPeer.open(t, announced)
    ann.send(action('message', ['found']))
    await ann.get(1)
  })

  for (const name of ['py3/broadcast/server_ip', 'py27/broadcast/server_ip'])
    it(`reads ${name}, and ignores invalid datagrams before it`, async t => {
      const port = await freePort()
      const found = discover({ port, host: '127.0.0.1', timeout: 10_000 })
      await sendRepeatedly(t, port, [...wrong, vector(name)])
      assert.deepEqual(await found, { host: '192.168.1.101', port: 25_000, id: '0042' })
    })

  it('rejects after the timeout, whatever other datagrams arrive', async t => {
    const port = await freePort()
    const found = discover({ port, host: '127.0.0.1', timeout: 300 })
    await sendRepeatedly(t, port, wrong)
    await assert.rejects(found, {
      code: 'timeout',
      message: `no server was announced on UDP port ${port} within 300 ms`,
    })
    // The port is free again.
    const socket = createSocket('udp4')
    t.after(() => void socket.close())
    await once(socket.bind(port, '127.0.0.1'), 'listening')
  })

  it('rejects when its signal is aborted', async () => {
    const port = await freePort()
    const ending = new AbortController()
    const found = discover({ port, host: '127.0.0.1', signal: ending.signal })
    ending.abort(new Error('cancelled'))
    await assert.rejects(found, { message: 'cancelled' })
    await assert.rejects(discover({ port, signal: ending.signal }), { message: 'cancelled' })
  })

  it('rejects when it cannot listen', async t => {
    const socket = createSocket('udp4')
    t.after(() => void socket.close())
    await once(socket.bind(0, '127.0.0.1'), 'listening')
    const { port } = socket.address()
    await assert.rejects(discover({ port, host: '127.0.0.1', timeout: 5000 }), { code: 'EADDRINUSE' })
    await assert.rejects(discover({ port, timeout: 0 }), {
      name: 'RangeError',
      message: 'the timeout of discover() is 1 to 2147483647 milliseconds, received 0',
    })
  })
})
