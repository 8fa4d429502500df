import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer as createTcp, type Socket, type Server as TcpServer } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import type { Attached, Client, Server } from '../../src/contract/client.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Closed } from '../../src/contract/peer.ts'
import type { Transport } from '../../src/contract/transport.ts'
import { createServer } from '../../src/index.ts'
import { Peer, serve, until } from '../support/peer.ts'

type Test = { after(fn: () => Promise<void> | void): void }

let framed = 0

/** One message a line. Shared by all connections, so that a broadcast is framed once. */
function lineFrame(payload: Payload): Buffer {
  framed++
  return Buffer.from(`${payload}\n`)
}

/** An example filter of a user: TCP as a transport. */
class LineTransport implements Transport {
  readonly name = 'line'
  readonly remote: string
  readonly socket: Socket
  readonly frame = lineFrame
  /** Calls of pause and resume, in order. */
  readonly calls: string[] = []

  constructor(socket: Socket) {
    this.socket = socket
    this.remote = socket.remoteAddress ?? ''
    socket.on('error', () => {})
  }

  pause(): void {
    this.calls.push('pause')
    this.socket.pause()
  }
  resume(): void {
    this.calls.push('resume')
    this.socket.resume()
  }
  close(code: number, reason: string): void {
    // A slow peer would not read the close line either.
    if (code === 1013) this.socket.destroy()
    else this.socket.end(`bye ${code} ${reason}\n`)
  }
  destroy(): void {
    this.socket.destroy()
  }
}

interface Lines {
  readonly filter: FilterModule
  /** After the server has started. */
  readonly port: number
  readonly transports: LineTransport[]
  /** The `Attached` of each connection. */
  readonly attached: Attached[]
}

/** A filter with another transport: lines over TCP. */
function lines({ open = false } = {}): Lines {
  let tcp: TcpServer | undefined
  const transports: LineTransport[] = []
  const attached: Attached[] = []
  const accept = (server: Server, socket: Socket) => {
    const transport = new LineTransport(socket)
    transports.push(transport)
    const all = server.attach(transport)
    attached.push(all)
    const { receive, closed } = all
    let rest = ''
    socket.on('data', chunk => {
      const parts = (rest + chunk).split('\n')
      rest = parts.pop()!
      for (const line of parts) receive(line)
    })
    socket.on('end', () => socket.end())
    let failed = false
    socket.on('error', () => {
      failed = true
    })
    socket.on('close', () => closed(failed ? 1006 : 1000, '', !failed))
  }
  return {
    transports,
    attached,
    get port() {
      return (tcp!.address() as AddressInfo).port
    },
    filter: {
      setup({ guards }) {
        if (guards.length > 0 && !open)
          throw new Error(`lines come in without ${guards.join(', ')}; set lines-open if that is meant`)
        return {
          async start(server) {
            tcp = createTcp({ allowHalfOpen: true }, socket => accept(server, socket))
            await once(tcp.listen(0, '127.0.0.1'), 'listening')
          },
          async stop() {
            if (tcp?.listening) await once(tcp.close(), 'close')
          },
        }
      },
    },
  }
}

/** The other end of a line connection. */
class LinePeer {
  readonly socket: Socket
  text = ''
  hasEnded = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8')
    socket.on('data', chunk => {
      this.text += chunk
    })
    socket.on('end', () => {
      this.hasEnded = true
    })
    socket.on('error', () => {})
  }

  static async open(t: Test, port: number): Promise<LinePeer> {
    const socket = connect(port, '127.0.0.1')
    t.after(() => void socket.destroy())
    const peer = new LinePeer(socket)
    await once(socket, 'connect')
    return peer
  }

  get received(): readonly string[] {
    return this.text.split('\n').slice(0, -1)
  }

  send(line: string): void {
    this.socket.write(`${line}\n`)
  }

  async get(count: number): Promise<readonly string[]> {
    await until(() => this.received.length >= count, `${count} lines, got ${this.received.length}`)
    return this.received.slice(0, count)
  }
}

/** A server with that transport and filters after it. */
async function withLines(t: Test, filters: readonly (string | FilterModule)[], options: object = {}) {
  const door = lines()
  const server = await serve(t as never, { filters: [door.filter, ...filters], ...options })
  const clientOf = async (count: number) => {
    await until(() => server.clients.size === count, `${count} clients`)
    return [...server.clients.values()].at(-1)!
  }
  return { server, door, clientOf, peer: () => LinePeer.open(t, door.port) }
}

describe('a transport of a filter', () => {
  it('shares broadcasts with WebSocket clients in both directions', async t => {
    const { server, clientOf, peer } = await withLines(t, ['broadcast'])
    const line = await peer()
    await clientOf(1)
    const web = await Peer.open(server.url)
    await clientOf(2)
    line.send('from the line')
    assert.deepEqual(await web.get(1), ['from the line'])
    web.send('from the web')
    assert.deepEqual(await line.get(1), ['from the web'])
    assert.deepEqual([web.received, line.received], [['from the line'], ['from the web']])
  })

  it('shares topics, each in its own framing', async t => {
    const { server, clientOf, peer } = await withLines(t, [
      {
        open: client => client.join(client.transport === 'line' ? 'lines' : 'webs'),
        message: (topic, client) => {
          client.join(String(topic))
          client.send('joined')
        },
      },
    ])
    const line = await peer()
    await clientOf(1)
    const web = await Peer.open(server.url)
    line.send('both')
    web.send('both')
    await Promise.all([line.get(1), web.get(1)])
    server.broadcast('to both', { topic: 'both' })
    server.broadcast('to lines', { topic: 'lines' })
    server.broadcast('to webs', { topic: 'webs' })
    server.broadcast(Buffer.from('bytes'))
    assert.deepEqual(await line.get(4), ['joined', 'to both', 'to lines', 'bytes'])
    assert.deepEqual(await web.get(4), ['joined', 'to both', 'to webs', Buffer.from('bytes')])
  })

  it('frames a broadcast once for all its clients', async t => {
    const { server, clientOf, peer } = await withLines(t, [])
    const peers = [await peer(), await peer(), await peer()]
    await clientOf(3)
    framed = 0
    for (let i = 0; i < 5; i++) server.broadcast(`news ${i}`)
    for (const line of peers) assert.equal((await line.get(5)).join(), 'news 0,news 1,news 2,news 3,news 4')
    assert.equal(framed, 5)
  })

  it('makes clients with an id, an address and the name of the transport, and without a handshake', async t => {
    const { clientOf, peer } = await withLines(t, [])
    await peer()
    const { handshake, transport, remote, id } = await clientOf(1)
    assert.deepEqual([handshake, transport, remote], [undefined, 'line', '127.0.0.1'])
    assert.match(id, /^[0-9a-f-]{36}$/)
  })

  it('runs no connect chain, then open, message and disconnect as for any client', async t => {
    const ran: unknown[] = []
    const { clientOf, peer } = await withLines(t, [
      {
        connect: () => void ran.push('connect'),
        open: ({ transport }) => void ran.push(`open ${transport}`),
        message: payload => void ran.push(payload),
        disconnect: (_, closed) => void ran.push(closed),
      },
    ])
    const line = await peer()
    await clientOf(1)
    line.send('hello')
    line.socket.end()
    await until(() => ran.length === 3, 'the disconnect chain')
    assert.deepEqual(ran, ['open line', 'hello', { code: 1000, reason: '', clean: true }])
  })

  it('is notified when the chain has handled its messages, dropped or not', async t => {
    const order: string[] = []
    let open = () => {}
    const opened = new Promise<void>(resolve => {
      open = resolve
    })
    const { clientOf, peer, door } = await withLines(t, [
      {
        async message(payload, client) {
          await opened
          order.push(String(payload))
          return client.drop()
        },
      },
    ])
    const line = await peer()
    await clientOf(1)
    const [{ settled } = assert.fail()] = door.attached
    settled(() => order.push('nothing yet'))
    line.send('one\ntwo')
    await new Promise(resolve => door.transports[0]!.socket.once('data', resolve))
    settled(() => order.push('settled'))
    open()
    await until(() => order.length === 4)
    assert.deepEqual(order, ['nothing yet', 'one', 'two', 'settled'])
  })

  it('keeps the order of messages after an async filter', async t => {
    const { clientOf, peer } = await withLines(t, [
      {
        async message(payload) {
          if (Number(payload) % 3 === 0) await new Promise(resolve => setImmediate(resolve))
        },
      },
      'echo',
    ])
    const line = await peer()
    await clientOf(1)
    const sent = Array.from({ length: 500 }, (_, i) => `${i}`)
    line.socket.write(`${sent.join('\n')}\n`)
    assert.deepEqual(await line.get(500), sent)
  })

  it('can be held and admitted: on hold it gets no broadcast', async t => {
    const { server, clientOf, peer } = await withLines(t, [
      {
        open: client => client.hold(),
        message(payload, client) {
          if (payload !== 'secret') return client.answer('no')
          client.admit()
          return client.answer('welcome')
        },
      },
    ])
    const line = await peer()
    await clientOf(1)
    server.broadcast('for members')
    line.send('guess')
    await line.get(1)
    line.send('secret')
    await line.get(2)
    server.broadcast('for members too')
    assert.deepEqual(await line.get(3), ['no', 'welcome', 'for members too'])
  })

  it('gives its clients ids of the core', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const stuck = () => ({
      id: 'mine',
      name: 'stuck',
      remote: '',
      socket: new Duplex({ read() {}, write() {} }),
      frame: lineFrame,
      pause() {},
      resume() {},
      close: () => {},
      destroy: () => {},
    })
    const attached = [server.attach(stuck()), server.attach(stuck())]
    await until(() => server.clients.size === 2)
    assert.notEqual(attached[0]!.client.id, 'mine')
    for (const { closed } of attached) closed(1006, '', false)
    await until(() => server.clients.size === 0)
  })

  it('gets its client before an open filter closes it', async t => {
    const gone: Closed[] = []
    const server = await serve(t, {
      filters: [
        {
          open: client => client.disconnect(4000, 'not today'),
          disconnect: (_, closed) => void gone.push(closed),
        },
      ],
    })
    const attached = server.attach({
      name: 'shy',
      remote: '',
      socket: new Duplex({ read() {}, write() {} }),
      frame: lineFrame,
      pause() {},
      resume() {},
      close: (code, reason) => attached.closed(code, reason, true),
      destroy: () => attached.closed(1006, '', false),
    })
    await until(() => gone.length === 1)
    assert.deepEqual(gone, [{ code: 4000, reason: 'not today', clean: true }])
    assert.equal(server.clients.size, 0)
  })

  it('is closed after the last frame', async t => {
    const ended: Closed[] = []
    const { server, clientOf, peer } = await withLines(t, [
      {
        message(_, client) {
          for (let i = 0; i < 100; i++) client.send(`line ${i}`)
          client.server.broadcast('broadcast')
          client.disconnect(4000, 'enough')
          client.send('too late')
        },
        disconnect: (_, closed) => void ended.push(closed),
      },
    ])
    const line = await peer()
    await clientOf(1)
    line.send('go')
    await until(() => line.hasEnded, 'the end')
    const expected = [...Array.from({ length: 100 }, (_, i) => `line ${i}`), 'broadcast', 'bye 4000 enough']
    assert.deepEqual(line.received, expected)
    line.socket.end()
    await until(() => ended.length === 1, 'the disconnect chain')
    assert.deepEqual([ended[0]!.code, ended[0]!.reason], [4000, 'enough'])
    assert.equal(server.counters.drops['closed client'], 1)
  })

  it('reports 1006 and not clean when a peer is lost', async t => {
    const ended: Closed[] = []
    const { clientOf, peer } = await withLines(t, [{ disconnect: (_, closed) => void ended.push(closed) }])
    const line = await peer()
    await clientOf(1)
    line.socket.resetAndDestroy()
    await until(() => ended.length === 1, 'the disconnect chain')
    assert.deepEqual(ended, [{ code: 1006, reason: '', clean: false }])
  })

  it('a peer that never reads is closed with 1013, without effect on others', async t => {
    const ended: [string, number][] = []
    const { server, clientOf, peer } = await withLines(
      t,
      [{ disconnect: (client: Client, { code }: Closed) => void ended.push([client.id, code]) }],
      { maxBuffered: 65_536 },
    )
    const stuck = await peer()
    stuck.socket.pause()
    const { id } = await clientOf(1)
    const web = await Peer.open(server.url)
    const piece = 'x'.repeat(32_768)
    let sent = 0
    while (ended.length === 0) {
      server.broadcast(piece)
      sent++
      await web.get(sent)
      assert.ok(sent < 2000, 'still not closed')
    }
    assert.deepEqual(ended, [[id, 1013]])
    assert.equal(server.counters.drops['slow client'], 1)
    assert.equal(web.received.length, sent)
  })

  it('is paused when its mailbox is full, and resumed when there is room', async t => {
    let open = () => {}
    const opened = new Promise<void>(resolve => {
      open = resolve
    })
    const seen: Payload[] = []
    const { server, door, clientOf, peer } = await withLines(
      t,
      [
        {
          async message(payload) {
            await opened
            seen.push(payload)
          },
        },
      ],
      { maxQueued: 4 },
    )
    const line = await peer()
    await clientOf(1)
    const sent = Array.from({ length: 20 }, (_, i) => `${i}`)
    line.socket.write(`${sent.join('\n')}\n`)
    await until(() => server.counters.paused === 1, 'the pause')
    assert.deepEqual(door.transports[0]!.calls, ['pause'])
    open()
    await until(() => seen.length === sent.length, 'all messages')
    assert.deepEqual(seen, sent)
    assert.deepEqual(door.transports[0]!.calls, ['pause', 'resume'])
  })

  it('is closed with 1001 when the server stops', async t => {
    const door = lines()
    const server = await createServer({ port: 0, logLevel: 'silent', drain: 2, filters: [door.filter] })
    const line = await LinePeer.open(t, door.port)
    await until(() => server.clients.size === 1, 'the client')
    const closing = server.close()
    await until(() => line.hasEnded, 'the goodbye')
    line.socket.end()
    await closing
    assert.deepEqual(line.received, ['bye 1001 server is shutting down'])
    assert.equal(server.clients.size, 0)
  })

  it('refuses to start next to a guard that its peers would bypass', async () => {
    const refused = lines().filter
    await assert.rejects(createServer({ port: 0, logLevel: 'silent', filters: ['rate-limit', refused] }), error => {
      assert.equal((error as { code: string }).code, 'ERR_FILTER')
      assert.match(
        (error as Error).message,
        /^setup of filter inline .* failed: lines come in without rate-limit; set lines-open if that is meant$/,
      )
      return true
    })
  })

  it('starts next to a guard if the operator allows it', async t => {
    const door = lines({ open: true })
    await serve(t as never, { filters: ['rate-limit', door.filter], 'rate-limit-messages': 1 })
    const line = await LinePeer.open(t, door.port)
    for (let i = 0; i < 2; i++) line.send('x')
    assert.match((await line.get(1))[0]!, /^Warning: more than 1 messages/)
  })
})

/** The methods that a connection may throw in. */
type Failing = 'write' | 'pause' | 'resume' | 'close' | 'destroy'

/** A connection that throws in one method. */
function broken(failing: readonly Failing[], end: () => void = () => {}): Transport {
  const may = (operation: Failing) => {
    if (failing.includes(operation)) throw new Error(`no ${operation}`)
  }
  return {
    name: 'broken',
    remote: '',
    socket: new Duplex({
      read() {},
      write(_chunk, _encoding, done) {
        may('write')
        done()
      },
    }),
    frame: lineFrame,
    pause: () => may('pause'),
    resume: () => may('resume'),
    close() {
      may('close')
      end()
    },
    destroy() {
      may('destroy')
      end()
    },
  }
}

describe('a transport that throws', () => {
  const cases: readonly (readonly [
    what: string,
    failing: readonly Failing[],
    errors: number,
    use: (client: Client, receive: (payload: Payload) => void, open: () => void) => void,
    closed: Closed,
  ])[] = [
    ['when it is written to', ['write'], 1, () => {}, { code: 1006, reason: '', clean: false }],
    [
      'when it is paused',
      ['pause'],
      1,
      (_, receive, open) => {
        for (const payload of ['1', '2', '3']) receive(payload)
        open()
      },
      { code: 1006, reason: '', clean: false },
    ],
    [
      'when it is resumed',
      ['resume'],
      1,
      (_, receive, open) => {
        for (const payload of ['1', '2', '3']) receive(payload)
        open()
      },
      { code: 1006, reason: '', clean: false },
    ],
    [
      'when it is closed',
      ['close'],
      1,
      client => client.disconnect(4000, 'enough'),
      { code: 4000, reason: 'enough', clean: false },
    ],
    [
      'whatever it is asked',
      ['write', 'pause', 'resume', 'close', 'destroy'],
      2,
      () => {},
      { code: 1006, reason: '', clean: false },
    ],
  ]

  for (const [what, failing, errors, use, expected] of cases) {
    it(`${what} loses its client, without effect on others`, async t => {
      let open = () => {}
      const opened = new Promise<void>(resolve => {
        open = resolve
      })
      const ended: Closed[] = []
      const server = await serve(t, {
        filters: [
          {
            message: (_, client) => (client.transport === 'broken' ? opened : undefined),
            disconnect: (_, closed) => void ended.push(closed),
          },
          'broadcast',
        ],
        maxQueued: 2,
      })
      const { client, receive, closed } = server.attach(broken(failing, () => closed(1006, '', false)))
      await until(() => server.clients.size === 1)
      const peers = [await Peer.open(server.url), await Peer.open(server.url)]
      await until(() => server.clients.size === 3)
      use(client, receive, open)
      for (const news of ['one', 'two', 'three']) server.broadcast(news)
      for (const peer of peers) assert.deepEqual((await peer.get(3)).slice(-3), ['one', 'two', 'three'])
      open()
      await until(() => ended.length === 1, 'the disconnect chain')
      assert.deepEqual(ended, [expected])
      assert.deepEqual([server.counters.errors, server.clients.size], [errors, 2])
    })
  }

  for (const property of ['writable', 'writableLength', 'writableNeedDrain', 'cork', 'uncork', 'write'] as const) {
    for (const [size, count] of [
      [10, 1],
      [10, 2],
      [100_000, 2],
    ] as const) {
      it(`at ${property}, with ${count} messages of ${size} bytes, loses its client, without effect on others`, async t => {
        const server = await serve(t, { filters: [{ open: client => client.join('room') }] })
        const peers = [await Peer.open(server.url)]
        const transport = broken([], () => closed(1006, '', false))
        const { client, closed } = server.attach(transport)
        await until(() => client.topics.has('room'))
        peers.push(await Peer.open(server.url))
        await until(() => server.clients.size === 3)
        let reads = 0
        const get = () => {
          reads++
          throw new Error(`no ${property}`)
        }
        Object.defineProperty(transport.socket, property, { get, configurable: true })
        for (let i = 0; i < count; i++) server.broadcast('x'.repeat(size), i === 0 ? {} : { topic: 'room' })
        server.broadcast('last')
        for (const peer of peers) assert.equal((await peer.get(count + 1)).at(-1), 'last')
        assert.equal(server.clients.has(client.id), reads === 0)
      })
    }
  }

  it('does not keep the server from stopping', async () => {
    const stopped: string[] = []
    const server = await createServer({
      port: 0,
      logLevel: 'silent',
      drain: 5,
      filters: [{ stop: () => void stopped.push('filter') }],
    })
    server.attach(broken(['write', 'pause', 'resume', 'close', 'destroy']))
    const peer = await Peer.open(server.url)
    await until(() => server.clients.size === 2)
    await server.close()
    assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
    assert.deepEqual([stopped, server.clients.size], [['filter'], 0])
  })

  for (const nonsense of ['a string', undefined, null, 42]) {
    it(`frames to ${JSON.stringify(nonsense)} gets no message, without effect on others`, async t => {
      const server = await serve(t, { filters: [] })
      const { closed } = server.attach({ ...broken([]), frame: () => nonsense as never })
      const peer = await Peer.open(server.url)
      await until(() => server.clients.size === 2)
      server.broadcast('news')
      assert.deepEqual(await peer.get(1), ['news'])
      assert.equal(server.counters.errors, 1)
      closed(1006, '', false)
    })
  }
})
