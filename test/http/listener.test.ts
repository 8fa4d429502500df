import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { type Client, DROP, type RunningServer } from '../../src/index.ts'
import { RawPeer } from '../support/frames.ts'
import { gate } from '../support/gate.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const LAST_REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
/** More than the kernel buffers for a peer that does not read. */
const LARGE = Buffer.alloc(32_000_000)

/** An idle connection ends after 0.25 s. */
const IMPATIENT = { heartbeat: 0.125, handshakeTimeout: 0.1 }

describe('a connection that is idle', () => {
  for (const [name, more] of [
    ['', {}],
    [' behind a data filter', { data: () => {} }],
  ] as const) {
    it(`is closed when its peer does not read an answer${name}`, async t => {
      let hasEnded = false
      const request = (_: unknown, res: ServerResponse) => {
        res.on('close', () => {
          hasEnded = true
        })
        res.end(LARGE)
        return DROP
      }
      const server = await serve(t, { filters: [{ request, ...more }], ...IMPATIENT })
      const { socket, answer } = await raw(server.url, REQUEST)
      socket.pause()
      await until(() => hasEnded, 'the end of the answer')
      socket.resume()
      assert.ok((await answer()).length < LARGE.length)
    })

    it(`is kept while a filter handles its request or its handshake${name}`, async t => {
      const { opened, open } = gate()
      t.after(async () => open())
      let isOver = false
      const request = async (req: IncomingMessage, res: ServerResponse) => {
        if (req.url === '/unread') {
          res.on('close', () => {
            isOver = true
          })
          res.end(LARGE)
          return DROP
        }
        await opened
        res.end('late')
        return DROP
      }
      const filters = [{ request, connect: () => opened, ...more }]
      const server = await serve(t, { filters, heartbeat: 0.125, handshakeTimeout: 0 })
      const { answer } = await raw(server.url, LAST_REQUEST)
      const knocking = await RawPeer.sendHandshake(server.url)
      // A later connection that does not read: its end shows that the timeout has passed for the others.
      const clock = await raw(server.url, REQUEST.replace('/', '/unread'))
      clock.socket.pause()
      await until(() => isOver, 'the end of the clock')
      clock.socket.destroy()
      open()
      assert.match(await answer(), /^HTTP\/1.1 200 .*late$/s)
      await until(() => knocking.head !== '' || knocking.isClosed)
      assert.match(knocking.head, /^HTTP\/1.1 101 /)
      knocking.socket.destroy()
    })
  }

  it('has no idle timeout when it is a client, also after an earlier request', async t => {
    let socket: Socket | undefined
    const timeouts: unknown[] = []
    const request = (_: unknown, res: ServerResponse) => {
      timeouts.push(res.socket!.timeout)
      res.end('page')
      return DROP
    }
    const connect = (client: Client) => {
      socket = client.handshake!.request!.socket
    }
    const server = await serve(t, { filters: [{ request, connect }] })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    await new Promise<void>(resolve => {
      get(server.url.replace('ws:', 'http:'), { agent }, res => res.resume().on('end', resolve))
    })
    const peer = await Peer.open(server.url, { agent })
    assert.deepEqual(timeouts, [60_000])
    assert.equal(socket!.timeout, 0)
    peer.send('still here')
    await until(() => server.counters.messages === 1)
  })
})

describe('requests that are pipelined', () => {
  it('close their connection when more than 32 are unanswered', async t => {
    const { opened, open } = gate()
    t.after(async () => open())
    let asked = 0
    const request = () => {
      asked++
      return opened
    }
    const server = await serve(t, { filters: [{ request }] })
    const peer = await raw(server.url, REQUEST.repeat(32))
    await until(() => asked === 32)
    // All of these are kept; a further one is not.
    const other = await raw(server.url, REQUEST)
    await until(() => asked === 33)
    assert.equal(peer.socket.closed, false)
    peer.socket.write(REQUEST)
    assert.equal(await peer.answer(), '')
    assert.equal(asked, 33)
    other.socket.destroy()
  })

  it('may be any number if each is answered', async t => {
    const server = await serve(t, { filters: [{ request: (_, res) => void res.end('page') }] })
    const { socket, answer } = await raw(server.url, REQUEST.repeat(20))
    await once(socket, 'data')
    socket.write(REQUEST.repeat(20) + LAST_REQUEST)
    assert.equal((await answer()).match(/^page/gm)?.length, 41)
  })
})

describe('a request whose filter fails', () => {
  it('is answered without the headers that the filter set, and closes its connection', async t => {
    const server = await serve(t, {
      filters: [
        {
          request: (_, res) => {
            res.statusMessage = 'Fine'
            res.setHeader('Content-Length', '3')
            res.setHeader('Set-Cookie', 'session=secret')
            throw new Error('no')
          },
        },
      ],
    })
    const { answer } = await raw(server.url, REQUEST.repeat(2))
    const text = await answer()
    assert.match(text, /^HTTP\/1.1 500 Internal Server Error\r\n.*\r\n\r\n.*internal error\n.*$/s)
    assert.match(text, /^Connection: close\r$/m)
    assert.doesNotMatch(text, /Content-Length: 3|Set-Cookie|HTTP.*HTTP/s)
  })

  it('is not answered with the Content-Length of a filter that passed it on', async t => {
    const request = (_: unknown, res: ServerResponse) => void res.setHeader('Content-Length', '3')
    const server = await serve(t, { filters: [{ request }] })
    const { answer } = await raw(server.url, LAST_REQUEST)
    const text = await answer()
    assert.match(text, /^HTTP\/1.1 426 .*this is a WebSocket server\n/s)
    assert.doesNotMatch(text, /Content-Length: 3/)
  })
})

describe('connections', () => {
  it('above --max-clients and 1,024 are closed at once, counted, and logged once a minute', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const warned: { msg: string; remote?: string }[] = []
    const log = pino({}, { write: line => void warned.push(JSON.parse(line)) })
    const server = await serve(t, { log, maxClients: 1, filters: [] })
    const { port } = new URL(server.url)
    const sockets = await Promise.all(
      Array.from({ length: 1025 + 5 }, async () => {
        const socket = connect(Number(port), '127.0.0.1').on('error', () => {})
        t.after(() => void socket.destroy())
        await once(socket, 'connect')
        return socket
      }),
    )
    await until(() => sockets.filter(({ closed }) => closed).length === 5, 'five closed connections')
    assert.deepEqual({ ...server.counters.refusals }, { 'connection limit': 5 })
    assert.deepEqual(
      warned.filter(({ msg }) => msg.startsWith('connection refused')).map(({ msg, remote }) => [msg, remote]),
      [['connection refused: 1025 connections are open; see --max-clients', '127.0.0.1']],
    )
  })
})

describe('close codes that peers choose', () => {
  it('are counted in few classes, those of filters one by one', async t => {
    const server = await serve(t, { filters: [{ message: (code, client) => client.disconnect(Number(code)) }] })
    for (const code of [1000, 1001, 3000, 3999, 4000, 4001, 4999])
      await closes(server, async peer => peer.ws.close(code))
    await closes(server, async peer => peer.ws.close())
    await closes(server, async peer => peer.ws.terminate())
    for (const code of [3000, 4001]) await closes(server, async peer => peer.send(String(code)))
    assert.deepEqual(
      { ...server.counters.closes },
      { 1000: 1, 1001: 1, 1005: 1, 1006: 1, 3000: 1, 4001: 1, '3xxx': 2, '4xxx': 3 },
    )
  })
})

async function closes(server: RunningServer, close: (peer: Peer) => Promise<void>): Promise<void> {
  const { closed } = server.counters
  await close(await Peer.open(server.url))
  await until(() => server.counters.closed === closed + 1, 'the end of the client')
}
