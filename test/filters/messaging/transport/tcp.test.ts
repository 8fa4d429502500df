import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer as createTcp, Server as TcpServer } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { ContentStream } from '../../../../filters/messaging/wire/content-stream.ts'
import type { Frame } from '../../../../filters/messaging/wire/message.ts'
import type { MessagingApi, Request } from '../../../../filters/messaging.ts'
import type { Client, Message } from '../../../../src/contract/client.ts'
import type { Payload } from '../../../../src/contract/payload.ts'
import type { Closed } from '../../../../src/contract/peer.ts'
import { createServer } from '../../../../src/index.ts'
import { authority } from '../../../support/certificates.ts'
import { folder } from '../../../support/cli.ts'
import {
  action,
  building,
  door,
  framed,
  headerOf,
  request,
  response,
  TcpPeer,
  vector,
} from '../../../support/messaging.ts'
import { Peer, until } from '../../../support/peer.ts'
import { freePort } from '../../../support/port.ts'

/** The error of a start that is refused. */
async function refusal(options: object, filters: string[] = ['messaging']): Promise<string> {
  try {
    const server = await createServer({ port: 0, logLevel: 'silent', filters, ...options })
    await server.close()
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`
  }
  throw new Error('it started')
}

describe('messaging over TCP', () => {
  it('opens no port by default', async t => {
    const { server, port } = await door(t, ['echo'], { messagingPort: await freePort() })
    assert.ok(port > 0)
    await server.close()
    const without = await createServer({ port: 0, logLevel: 'silent', filters: ['messaging'] })
    t.after(() => without.close())
    const socket = connect(port, '127.0.0.1')
    const [error] = await once(socket, 'error')
    assert.equal(error.code, 'ECONNREFUSED')
  })

  it('has clients with broadcasts, topics and close codes as any other transport', async t => {
    const ended: unknown[] = []
    const { server, clientOf, peer } = await door(t, [
      {
        open: (client: Client) => client.join(client.transport),
        disconnect: (client: Client, closed: Closed) => void ended.push([client.transport, closed]),
      },
      'broadcast',
    ])
    const ann = await peer()
    const { transport, remote, handshake, codec } = await clientOf(1)
    assert.deepEqual([transport, remote, handshake, codec.name], ['messaging', '127.0.0.1', undefined, 'messaging'])
    const bob = await Peer.open(server.url)
    await clientOf(2)
    ann.send(action('a', [1]), action('message', ['text']))
    assert.deepEqual(await bob.get(2), ['{"action":"a","args":[1],"kwargs":{}}', 'text'])
    bob.send(Buffer.from('bytes'))
    bob.send('hello')
    server.broadcast('to peers', { topic: 'messaging' })
    server.broadcast('to browsers', { topic: 'websocket' })
    await ann.get(2)
    assert.deepEqual(ann.names, [
      ['message', ['to peers']],
      ['message', ['hello']],
    ])
    ann.socket.end()
    await until(() => ended.length === 1)
    assert.deepEqual(ended, [['messaging', { code: 1000, reason: '', clean: true }]])
  })

  it('distinguishes a lost peer, a peer that ends within a frame, and one that has finished', async t => {
    const ended: unknown[] = []
    const { clientOf, peer } = await door(t, [
      { disconnect: (_: Client, { code, clean }: Closed) => void ended.push([code, clean]) },
    ])
    const lost = await peer()
    await clientOf(1)
    lost.socket.resetAndDestroy()
    await until(() => ended.length === 1)
    const cut = await peer()
    await clientOf(1)
    cut.socket.end(action('a').subarray(0, -1))
    await until(() => ended.length === 2)
    assert.deepEqual(ended, [
      [1006, false],
      [1006, false],
    ])
  })

  const sizeOf = (frame?: Frame) => (frame?.content instanceof ContentStream ? frame.content.size : undefined)

  it('gives filters the frame that the transport has parsed', async t => {
    const seen: unknown[] = []
    const look = (payload: Payload, _: Client, { messagingFrame: frame }: Message & { messagingFrame?: Frame }) =>
      void seen.push([frame?.bytes === payload, frame?.header.action, sizeOf(frame)])
    const { peer } = await door(t, [], { filters: [{ message: look }, 'messaging'] })
    const ann = await peer()
    ann.send(action('a', [1]), request('b', '1'), vector('py3/file/push'))
    await until(() => seen.length === 3)
    assert.deepEqual(seen, [
      [true, 'a', undefined],
      [true, undefined, undefined],
      [true, 'filetransfer', 6],
    ])
  })

  const replaced: readonly (readonly [what: string, replace: (payload: Buffer) => Payload, handled: unknown])[] = [
    ['another action', () => action('land'), ['land', []]],
    ['the same frame, copied', payload => Buffer.from(payload), ['takeoff', [1]]],
    ['other arguments', () => action('takeoff', [2]), ['takeoff', [2]]],
    [
      'changed bytes of the same length',
      payload => Buffer.from(payload.toString('latin1').replace('[1]', '[7]'), 'latin1'),
      ['takeoff', [7]],
    ],
    ['a JSON string', () => '{"action":"land","args":[3]}', ['land', [3]]],
    ['a frame that cannot be read', payload => payload.subarray(0, -1), 1007],
    ['no frame', () => Buffer.from('bytes'), 1007],
  ]
  for (const [what, replace, handled] of replaced)
    it(`handles the payload of an earlier filter, not the frame that it has replaced: ${what}`, async t => {
      const done: unknown[] = []
      const application = building(api => {
        for (const name of ['takeoff', 'land']) api.action(name, (_, args) => void done.push([name, args]))
      })
      const { peer } = await door(t, [], {
        filters: [
          { message: (payload: Payload) => replace(payload as Buffer) },
          'messaging',
          application,
          { disconnect: (_: Client, { code }: Closed) => void done.push(code) },
        ],
      })
      const ann = await peer()
      ann.send(action('takeoff', [1]))
      await until(() => done.length === 1)
      assert.deepEqual(done, [handled])
    })

  const refused: readonly (readonly [what: string, bytes: Buffer, why: string, code: number])[] = [
    ['an empty header', vector('bad/header-zero-length'), 'the header of a frame is not JSON', 1007],
    ['no JSON as a header', vector('bad/header-not-json'), 'the header of a frame is not JSON', 1007],
    [
      'a header without what it needs',
      vector('bad/header-empty-object'),
      'byteorder is a string, received undefined',
      1007,
    ],
    ['a negative length', vector('bad/length-negative'), 'content-length is a number of bytes, received -1', 1007],
    ['a length as a text', vector('bad/length-string'), 'content-length is a number of bytes, received "2"', 1007],
    [
      'more than is taken, before it comes',
      framed(headerOf('', { 'content-length': 2 ** 40 })),
      'a content has at most 1048576 bytes, 1099511627776 are announced',
      1009,
    ],
    ['null', vector('bad/content-null'), 'the content of a message is an object, received null', 1007],
    ['no JSON', vector('bad/content-not-json'), 'the content of a message is not JSON', 1007],
    [
      'an encoding of the stars',
      vector('bad/encoding-unknown'),
      'the content of a message is not in the encoding "klingon"; send utf-8',
      1007,
    ],
    ['no action', vector('bad/no-action'), 'action is a string of 1 to 1024 characters, received undefined', 1007],
  ]
  for (const [what, bytes, why, code] of refused) {
    it(`ends the connection of a peer that sends ${what}, and says why`, async t => {
      const ended: Closed[] = []
      const { clientOf, peer, logged } = await door(t, [
        { disconnect: (_: Client, closed: Closed) => void ended.push(closed) },
        'echo',
      ])
      const ann = await peer()
      await clientOf(1)
      ann.send(action('message', ['before']))
      await ann.get(1)
      ann.send(bytes)
      await ann.end()
      await until(() => ended.length === 1)
      assert.deepEqual(ended, [{ code, reason: why, clean: true }])
      assert.deepEqual(ann.names, [['message', ['before']]])
      const [line] = logged.filter(({ level }) => Number(level) >= 40)
      assert.match(String(line!.msg), /^messaging (peer|client) refused: /)
      assert.equal(String(line!.msg).split(' refused: ')[1], why)
    })
  }

  for (const name of [
    'bad/action-without-kwargs',
    'odd/unknown-message-type',
    'py27/action/nan',
    'ok/encoding-utf16',
  ]) {
    it(`keeps the connection of a peer that sends ${name}`, async t => {
      const { peer } = await door(t, ['echo'])
      const ann = await peer()
      ann.send(vector(name), action('message', ['after']))
      await until(() => ann.received.some(said => said.name === 'message'))
      assert.equal(ann.hasEnded, false)
    })
  }

  it('closes a peer whose header is slow, but not one that is silent between frames', async t => {
    const ended: Closed[] = []
    const { peer, clientOf } = await door(
      t,
      [{ disconnect: (_: Client, closed: Closed) => void ended.push(closed) }, 'echo'],
      { messagingHeaderTimeout: 0.2 },
    )
    const silent = await peer()
    await clientOf(1)
    const slow = await peer()
    await clientOf(2)
    const begun = Date.now()
    const dripping = setInterval(() => slow.socket.write('\x01'), 20)
    t.after(() => clearInterval(dripping))
    slow.socket.write('\xff')
    await slow.end()
    assert.ok(Date.now() - begun >= 180)
    await until(() => ended.length === 1)
    assert.deepEqual(ended, [{ code: 1008, reason: 'a header was not complete within 0.2 seconds', clean: true }])
    silent.send(action('message', ['still here']))
    await silent.get(1)
  })

  it('starts the timeout of a header when the frame before it is complete', async t => {
    const { peer } = await door(t, ['echo'], { messagingHeaderTimeout: 3 })
    const ann = await peer()
    const frame = action('message', ['x'])
    for (let i = 0; i < 4; i++) {
      ann.socket.write(frame.subarray(0, 10))
      // Together longer than the timeout of one header.
      await sleep(900)
      ann.socket.write(frame.subarray(10))
    }
    await ann.get(4)
    assert.equal(ann.hasEnded, false)
  })

  it('does not close a slow content that makes progress', async t => {
    const { peer } = await door(t, ['echo'], { messagingHeaderTimeout: 3 })
    const ann = await peer()
    const frame = action('message', ['x'])
    // In the header, in the content, and long after the timeout of a header.
    for (const [from, to, ms] of [
      [0, 10, 50],
      [10, -10, 3300],
      [-10, frame.length, 0],
    ] as const) {
      ann.socket.write(frame.subarray(from, to))
      await sleep(ms)
    }
    await ann.get(1)
    assert.equal(ann.hasEnded, false)
  })

  it('stops the timeout of a header only while reading is paused', async t => {
    let open = () => {}
    const opened = new Promise<void>(resolve => {
      open = resolve
    })
    const { server, peer } = await door(t, [{ message: () => opened }, 'echo'], {
      messagingHeaderTimeout: 0.2,
      maxQueued: 1,
    })
    const ann = await peer()
    const frame = action('message', ['x'])
    ann.send(frame, frame, frame, frame.subarray(0, 10))
    await until(() => server.counters.paused === 1)
    await sleep(400)
    assert.deepEqual([server.clients.size, server.counters.closes[1008]], [1, undefined])
    open()
    await ann.end()
    assert.equal(ann.received.length, 3)
    await until(() => server.counters.closes[1008] === 1)
  })

  // One read of the socket, and several.
  for (const count of [100, 1000]) {
    it(`pauses reading while tasks wait, loses none of ${count} messages, and keeps their order`, async t => {
      let open = () => {}
      const opened = new Promise<void>(resolve => {
        open = resolve
      })
      const seen: string[] = []
      const ended: Closed[] = []
      const { server, peer, clientOf } = await door(
        t,
        [
          {
            async message(payload: Payload) {
              await opened
              seen.push(String(payload))
            },
            disconnect: (_: Client, closed: Closed) => void ended.push(closed),
          },
        ],
        { maxQueued: 4 },
      )
      const ann = await peer()
      await clientOf(1)
      const texts = Array.from({ length: count }, (_, i) => `${i}`)
      // Ends at once, as a script does that has sent everything.
      ann.socket.end(Buffer.concat(texts.map(text => action('message', [text]))))
      await until(() => server.counters.paused === 1)
      open()
      await until(() => ended.length === 1)
      assert.deepEqual(seen, texts)
      assert.deepEqual(ended, [{ code: 1000, reason: '', clean: true }])
    })
  }

  it('does not delay a stop of the server while messages wait', async t => {
    const { server, peer, clientOf } = await door(t, [{ message: () => new Promise<void>(() => {}) }], {
      maxQueued: 1,
      drain: 0,
    })
    const ann = await peer()
    await clientOf(1)
    ann.socket.end(Buffer.concat(Array.from({ length: 100 }, () => action('a'))))
    await until(() => server.counters.paused === 1)
    await server.close()
    assert.equal(server.clients.size, 0)
  })

  it('closes a peer that never reads, without effect on others', async t => {
    const ended: unknown[] = []
    const { server, peer, clientOf } = await door(
      t,
      [{ disconnect: (client: Client, { code }: Closed) => void ended.push([client.id, code]) }],
      { maxBuffered: 65_536 },
    )
    const stuck = await peer()
    stuck.socket.pause()
    const { id } = await clientOf(1)
    const web = await Peer.open(server.url)
    await clientOf(2)
    for (let sent = 1; ended.length === 0; sent++) {
      server.broadcast('x'.repeat(32_768))
      await web.get(sent)
      assert.ok(sent < 2000, 'still not closed')
    }
    assert.deepEqual(ended, [[id, 1013]])
  })

  it('ends after everything is sent, also for a peer that does not end its side', async t => {
    const { server, port, clientOf } = await door(t, [])
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    t.after(() => void socket.destroy())
    const ann = new TcpPeer(socket)
    const client = await clientOf(1)
    for (let i = 0; i < 100; i++) client.send(`${i}`)
    client.disconnect(4000, 'enough')
    await ann.end()
    assert.equal(ann.received.length, 100)
    await until(() => server.clients.size === 0, 'the end of a connection that is half open')
    assert.equal(server.counters.closes[4000], 1)
  })

  it('asks each peer for its id unless disabled, and does not use it as identity', async t => {
    const known: string[] = []
    const { peer, clientOf } = await door(t, [building(api => api.onId((_, id) => void known.push(id)))], {
      messagingAskId: true,
    })
    const ids: unknown[] = ['copter1', 7, '', 'x'.repeat(129), 'copter1']
    const peers: TcpPeer[] = []
    for (const [i, id] of ids.entries()) {
      const ann = await peer()
      peers.push(ann)
      const [asked] = await ann.get(1)
      assert.deepEqual([asked!.type, asked!.name], ['request', 'id'])
      ann.send(response('id', (asked as { id: string }).id, id))
      const client = await clientOf(i + 1)
      await until(() => known.length === (i < 4 ? 1 : 2))
      assert.equal(client.identity, undefined)
      assert.deepEqual(client.state.messaging, id === 'copter1' ? { id } : undefined)
    }
    assert.deepEqual(known, ['copter1', 'copter1'])
    // clever-show would close the others, which have the same address.
    assert.deepEqual(
      peers.map(({ hasEnded }) => hasEnded),
      ids.map(() => false),
    )
  })

  it('logs errors of id handlers', async t => {
    const { peer, logged } = await door(
      t,
      [
        building(api =>
          api.onId(() => {
            throw new Error('no place')
          }),
        ),
      ],
      { messagingAskId: true },
    )
    const ann = await peer()
    const [asked] = await ann.get(1)
    ann.send(response('id', (asked as { id: string }).id, 'copter1'))
    await until(() =>
      logged.some(({ msg, err }) => msg === 'an id handler failed' && /no place/.test(JSON.stringify(err))),
    )
  })

  it('calls a peer while its action runs', async t => {
    let api!: MessagingApi
    const { peer } = await door(t, [
      building(given => {
        api = given
        given.action('ready', async client => api.emit(client, 'go', [await api.call(client, 'time')]))
      }),
    ])
    const ann = await peer()
    ann.send(action('ready'))
    const [asked] = await ann.get(1)
    ann.send(response('time', (asked as { id: string }).id, 1.5))
    await ann.get(2)
    assert.deepEqual(ann.names[1], ['go', [1.5]])
  })

  it('keeps a held peer pending: it sends and receives no broadcasts', async t => {
    let isAdmitted = false
    const { server, peer, clientOf } = await door(t, [], {
      filters: [
        {
          stage: 'guard',
          open: (client: Client) => client.hold(),
          message(payload: Payload, client: Client) {
            if (isAdmitted) return
            if (!payload.toString().includes('sesame')) return client.drop('no')
            client.admit()
            isAdmitted = true
            return client.drop('admitted')
          },
        },
        'messaging',
        'echo',
      ],
      messagingOpen: true,
    })
    const ann = await peer()
    await clientOf(1)
    ann.send(action('message', ['early']))
    server.broadcast('news')
    ann.send(action('sesame'), action('message', ['late']))
    await ann.get(1)
    assert.deepEqual(ann.names, [['message', ['late']]])
  })

  it('closes a peer beyond --max-clients', async t => {
    const { peer, clientOf, logged } = await door(t, ['echo'], { maxClients: 1 })
    const first = await peer()
    await clientOf(1)
    const second = await peer()
    await second.end()
    assert.deepEqual(second.received, [])
    await until(() => logged.some(({ msg }) => msg === 'messaging peer not accepted'))
    first.send(request('x', '0001'))
    await first.get(1)
  })

  it('closes connections without a TLS handshake when it stops', async t => {
    const { key, cert } = await authority('localhost')
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const tls = { messagingKey: `${path}/key.pem`, messagingCert: `${path}/cert.pem` }
    const { server, peer, port, clientOf } = await door(t, [], { ...tls, messagingHeaderTimeout: 60 })
    const silent = await peer()
    // Accepted after that connection.
    const next = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    t.after(() => void next.destroy())
    await clientOf(1)
    const before = Date.now()
    await server.close()
    await silent.end()
    assert.ok(Date.now() - before < 30_000)
    const patient = await door(t, [], { ...tls, messagingHeaderTimeout: 0.2 })
    const late = await patient.peer()
    await late.end()
    assert.equal(patient.server.clients.size, 0)
  })

  it('accepts a peer after 300 connections without a TLS handshake', async t => {
    const { key, cert } = await authority('localhost')
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const { port, clientOf } = await door(t, ['echo'], {
      messagingKey: `${path}/key.pem`,
      messagingCert: `${path}/cert.pem`,
      messagingHeaderTimeout: 60,
    })
    const silent = await Promise.all(Array.from({ length: 300 }, () => TcpPeer.open(t, port)))
    const begun = Date.now()
    const ann = new TcpPeer(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }))
    t.after(() => void ann.socket.destroy())
    ann.send(action('message', ['in time']))
    await ann.get(1)
    assert.ok(Date.now() - begun < 25_000, 'it had to wait for others')
    await clientOf(1)
    // The oldest connections, as many as exceed the limit.
    const ended = () => silent.flatMap(({ hasEnded, socket }, i) => (hasEnded || socket.closed ? [i] : []))
    await until(() => ended().length === 45)
    assert.deepEqual(
      ended(),
      Array.from({ length: 45 }, (_, i) => i),
    )
  })

  it('logs that a client refused its certificate', async t => {
    const { key, cert } = await authority('localhost')
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const tls = { messagingKey: `${path}/key.pem`, messagingCert: `${path}/cert.pem` }
    const { port, logged } = await door(t, [], tls)
    const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-verify_return_error'], {
      stdio: 'ignore',
    })
    await once(client, 'close')
    await until(() => logged.some(({ level }) => Number(level) === 40), 'a warning')
    const line = logged.find(({ level }) => Number(level) === 40)!
    assert.deepEqual(
      [line.code, line.msg],
      ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'messaging port: a client refused the certificate of this server: unknown ca'],
    )
  })

  it('continues to listen when a connection cannot be accepted', async t => {
    const { port, peer, logged } = await door(t, ['echo'])
    const listening = (process as unknown as { _getActiveHandles(): unknown[] })
      ._getActiveHandles()
      .find(handle => handle instanceof TcpServer && (handle.address() as AddressInfo | null)?.port === port)
    ;(listening as TcpServer).emit('error', new Error('accept EMFILE'))
    const ann = await peer()
    ann.send(action('message', ['still here']))
    await ann.get(1)
    const [line] = logged.filter(({ level }) => Number(level) >= 50)
    assert.equal(line!.msg, 'messaging could not accept a connection')
    assert.match(JSON.stringify(line!.err), /accept EMFILE/)
  })

  it('closes its peers when the server stops', async t => {
    const closes: unknown[] = []
    const { server, peer, clientOf } = await door(t, [
      { disconnect: (_: Client, { code, reason }: Closed) => void closes.push([code, reason]) },
    ])
    const ann = await peer()
    await clientOf(1)
    await server.close()
    await ann.end()
    assert.deepEqual(closes, [[1001, 'server is shutting down']])
  })

  it('logs at most five refused peers per second', async t => {
    const { port, logged, server } = await door(t, [])
    const before = Date.now()
    for (let i = 0; i < 30; i++) {
      const socket = connect(port, '127.0.0.1', () => socket.end(vector('bad/header-not-json')))
      socket.on('error', () => {})
    }
    await until(() => server.counters.closes[1007] === 30)
    const lines = logged.filter(({ msg }) => String(msg).startsWith('messaging peer refused'))
    const seconds = (Date.now() - before) / 1000
    assert.ok(lines.length >= 5 && lines.length <= 5 * (seconds + 2), `${lines.length} lines in ${seconds} s`)
  })

  it('does not close a peer that reads slowly', async t => {
    const large = building(messaging => void messaging.request('large', () => 'x'.repeat(60_000_000)))
    const options = { messagingAskId: true, messagingHeartbeat: 0.1, maxBuffered: 100_000_000 }
    const { server, peer } = await door(t, [large], options)
    const slow = await peer()
    const [asked] = await slow.get(1)
    slow.send(response('id', (asked as Request).id, 'slow'), request('large', '1'))
    const { socket } = slow
    // Reads a little at intervals, for ten beats.
    for (let reads = 0; reads < 10; reads++) {
      socket.resume()
      await new Promise(setImmediate)
      socket.pause()
      await sleep(100)
    }
    assert.equal(server.counters.closed, 0)
    assert.ok(!slow.received.some(({ type }) => type === 'response'), 'it has not read it all, or nothing was proved')
  })

  for (const size of [100_000, 1_000_000, 10_000_000])
    it(`does not close a peer that pauses while ${size} bytes are on the way`, async t => {
      const large = building(messaging => void messaging.request('large', () => 'x'.repeat(size)))
      const { server, peer } = await door(t, [large], { messagingAskId: true, messagingHeartbeat: 0.1 })
      const slow = await peer()
      const [asked] = await slow.get(1)
      slow.socket.pause()
      slow.send(response('id', (asked as Request).id, 'slow'), request('large', '1'))
      await sleep(1000)
      slow.socket.resume()
      await until(() => slow.received.some(({ type }) => type === 'response'), 'the answer')
      assert.equal(server.counters.closed, 0)
    })

  it('closes a peer that no longer answers, but no silent peer that answers or has no id', async t => {
    const { server, clientOf, peer } = await door(t, [], { messagingAskId: true, messagingHeartbeat: 0.3 })
    const [silent, gone, deaf] = [await peer(), await peer(), await peer()]
    let answered = 0
    const answer = () => {
      const asked = silent.received.filter(said => said.type === 'request').slice(answered)
      answered += asked.length
      for (const { id } of asked) silent.send(response('id', id, 'silent'))
    }
    silent.socket.on('data', answer)
    answer()
    const [first] = await gone.get(1)
    gone.send(response('id', (first as Request).id, 'gone'))
    await gone.end()
    await clientOf(2)
    await until(() => answered > 3, 'more questions')
    assert.deepEqual([server.clients.size, deaf.hasEnded, silent.hasEnded], [2, false, false])
  })
})

describe('messaging on a TCP port is refused at start', () => {
  it('with a guard, which it would bypass', async () => {
    assert.equal(
      await refusal({ messagingPort: 0 }, ['rate-limit', 'messaging']),
      'ERR_OPTION filter messaging: --messaging-port 0 bypasses rate-limit; give --messaging-open if that is intended',
    )
  })

  it('but not with --messaging-open or without a port', async t => {
    for (const options of [{ messagingPort: 0, messagingOpen: true }, {}]) {
      const server = await createServer({
        port: 0,
        logLevel: 'silent',
        filters: ['rate-limit', 'messaging'],
        ...options,
      })
      t.after(() => server.close())
    }
  })

  it('with an incomplete or invalid TLS configuration', async t => {
    const path = folder(t, { 'key.pem': 'none', 'cert.pem': 'none' })
    assert.equal(
      await refusal({ messagingPort: 0, messagingKey: `${path}/key.pem` }),
      'ERR_OPTION filter messaging: --messaging-key and --messaging-cert go together; one of them is missing',
    )
    assert.match(
      await refusal({ messagingPort: 0, messagingKey: `${path}/key.pem`, messagingCert: `${path}/cert.pem` }),
      /^ERR_OPTION filter messaging: --messaging-key \S+key.pem is not in PEM format: it has no line "-----BEGIN ..."$/,
    )
    assert.match(
      await refusal({ messagingPort: 0, messagingKey: `${path}/no.pem`, messagingCert: `${path}/cert.pem` }),
      /^ERR_OPTION filter messaging: --messaging-key \S+no.pem cannot be read: ENOENT/,
    )
    assert.equal(
      await refusal({ messagingPort: 0, messagingKey: '/dev/zero', messagingCert: `${path}/cert.pem` }),
      'ERR_OPTION filter messaging: --messaging-key /dev/zero cannot be read: it is not a regular file',
    )
  })

  it('when the port is in use', async t => {
    const other = createTcp()
    await once(other.listen(0, '127.0.0.1'), 'listening')
    t.after(() => void other.close())
    const { port } = other.address() as AddressInfo
    assert.match(
      await refusal({ messagingPort: port }),
      new RegExp(`^ERR_START .*127\\.0\\.0\\.1:${port}: the port is taken; choose another with --messaging-port$`),
    )
  })
})
