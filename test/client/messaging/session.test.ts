import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import type { Request } from '../../../filters/messaging/wire/message.ts'
import { authority, signed } from '../../support/certificates.ts'
import { folder } from '../../support/cli.ts'
import { ground } from '../../support/ground.ts'
import { door, framed, headerOf, plainly, request, response, TcpPeer } from '../../support/messaging.ts'
import { failing, follow, responseTo } from '../../support/messaging-client.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const closeEvents = (events: ReturnType<typeof follow>['events']) =>
  events.flatMap(([type, event]) => (type === 'close' ? [event as { code: number; reason: string }] : []))
const messageEvents = (events: ReturnType<typeof follow>['events']) =>
  events.flatMap(([type, event]) => (type === 'message' ? [event as string | ArrayBuffer] : []))

describe('a messaging client of a plain server', () => {
  it('sends and receives strings and bytes unchanged, and actions as strings', async t => {
    const { url } = await serve(t, { filters: ['broadcast'] })
    const other = await Peer.open(url)
    const { client, events, opened } = follow(t, url)
    const received: unknown[] = []
    client.action('led', (args, kwargs, delivery) => received.push(plainly([args, kwargs, delivery])))
    assert.equal(client.send('early'), true)
    assert.equal(client.send(new Uint8Array([0])), false)
    client.emit('led', ['blue'], { n: Number.NaN })
    await opened()
    assert.equal(client.send(new Uint8Array([1, 2])), true)
    assert.deepEqual(await other.get(3), [
      'early',
      '{"action":"led","args":["blue"],"kwargs":{"n":null}}',
      Buffer.from([1, 2]),
    ])
    for (const text of ['plain', '{"action":"led","args":[1],"topic":"fleet"}', '{"action":7}', '{"a":1}', 'null'])
      other.send(text)
    other.send(Buffer.from([3]))
    await until(() => messageEvents(events).length === 5, 'five messages')
    assert.deepEqual(
      messageEvents(events).map(data => (typeof data === 'string' ? data : [...new Uint8Array(data)])),
      ['plain', '{"action":7}', '{"a":1}', 'null', [3]],
    )
    assert.deepEqual(received, [[[1], {}, { repeated: false, topic: 'fleet' }]])
    assert.equal((events[0]![1] as { protocol: string }).protocol, 'messaging')
  })

  it('rejects calls, also queued ones', async t => {
    const { url } = await serve(t, { filters: ['broadcast'] })
    const { client, opened } = follow(t, url)
    const none = failing('none', 'the server has no filter messaging')
    const waiting = [client.call('telemetry'), client.deliver('land'), client.subscribe('fleet', () => {})]
    for (const call of waiting) await assert.rejects(call, none)
    await opened()
    await assert.rejects(client.call('telemetry'), none)
    assert.equal(client.queued, 0)
  })
})

describe('a messaging client of clever-show', () => {
  it('opens without a response to fws.resume, and delivers an action when it is sent', async t => {
    const station = await ground(t, {
      resume: undefined,
      onMessage: (message, line) => message.type === 'request' && line.send(responseTo(message, message.args)),
    })
    const { client, opened } = follow(t, station.url)
    const called = client.call('echo', [1])
    const begun = performance.now()
    await opened()
    assert.ok(performance.now() - begun > 1500)
    assert.deepEqual(await called, [1])
    await client.deliver('land')
    const line = await station.line()
    await until(() => line.received.length === 3)
    assert.equal(line.received[2]!.name, 'land')
  })

  it('is one if the server answers `unknown`, but not if it answers `off`', async t => {
    const unknown = await ground(t, { resume: 'unknown' })
    await follow(t, unknown.url).client.deliver('land')
    const off = await ground(t, { resume: 'off' })
    await assert.rejects(
      follow(t, off.url).client.deliver('land', [], {}, { timeout: 50 }),
      failing('timeout', 'the server has not answered "land" within 50 ms'),
    )
  })
})

describe('a message in the queue of a messaging client', () => {
  it('is sent even if an earlier one does not fit into a frame', async t => {
    const { url } = await ground(t, { onMessage: (message, line) => line.send(responseTo(message, 'done')) })
    const { client, opened } = follow(t, url)
    const name = 'x'.repeat(65_600)
    const tooLong = {
      name: 'RangeError',
      message: /^a header has at most 65535 bytes, received 657\d\d; shorten its names$/,
    }
    const waiting = assert.rejects(client.deliver(name), tooLong)
    assert.equal(client.emit(name), true)
    const asked = client.call('telemetry')
    await waiting
    assert.equal(await asked, 'done')
    await opened()
    await assert.rejects(client.deliver(name), tooLong)
    assert.equal(client.emit(name), false)
    assert.equal(await client.call('telemetry'), 'done')
    assert.equal(client.queued, 0)
  })

  it('is refused above the limits of messages and bytes', async t => {
    const port = await freePort()
    const url = `tcp://127.0.0.1:${port}`
    const few = follow(t, url, { maxQueued: 2 }).client
    const full = failing('full', 'the queue is full')
    const calls = [few.call('one').catch(error => error.code)]
    assert.equal(few.emit('two'), true)
    await assert.rejects(few.call('three'), full)
    assert.equal(few.emit('three'), false)
    assert.equal(few.queued, 2)
    few.close()
    assert.deepEqual(await Promise.all(calls), ['gone'])
    assert.equal(few.queued, 0)
    const small = follow(t, url, { maxQueuedBytes: 1000 }).client
    assert.equal(small.emit('a', ['x'.repeat(400)]), false)
    assert.equal(small.emit('a', ['x'.repeat(200)]), true)
    await assert.rejects(small.call('b', ['x'.repeat(200)]), full)
  })

  it('is dropped after the timeout, by the signal, and with the connection', async t => {
    const { client } = follow(t, `tcp://127.0.0.1:${await freePort()}`)
    await assert.rejects(
      client.call('a', [], {}, { timeout: 30 }),
      failing('timeout', 'the server has not answered "a" within 30 ms'),
    )
    await assert.rejects(client.call('a', [], {}, { signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' })
    assert.equal(client.queued, 0)
    const aborted = follow(t, 'tcp://127.0.0.1:1', { signal: AbortSignal.abort() }).client
    await assert.rejects(aborted.call('a'), failing('gone', 'the connection is closed'))
  })

  it('waits until it fits into the window of the server', async t => {
    const station = await ground(t, { resume: { window: 2 } })
    const { client } = follow(t, station.url)
    const calls = ['a', 'b', 'c', 'd'].map(name => client.call(name))
    client.emit('e')
    const line = await station.line()
    await until(() => line.received.length === 3)
    const receivedRequest = (i: number) => line.received[i] as Request
    // The first one is unanswered, so the third is outside the window.
    line.send(responseTo(receivedRequest(2), 'b'))
    assert.equal(await calls[1], 'b')
    assert.equal(line.received.length, 3)
    line.send(responseTo(receivedRequest(1), 'a'))
    await until(() => line.received.length === 6)
    assert.deepEqual(
      line.received.slice(1).map(({ name }) => name),
      ['a', 'b', 'c', 'd', 'e'],
    )
    for (const i of [4, 3]) line.send(responseTo(receivedRequest(i), i))
    assert.deepEqual(await Promise.all(calls), ['a', 'b', 3, 4])
  })

  for (const [how, options] of [
    ['by its timeout', () => ({ timeout: 300 })],
    ['by its signal', () => ({ signal: AbortSignal.timeout(300) })],
  ] as const)
    it(`is sent when an earlier one is dropped ${how}`, async t => {
      const station = await ground(t, {
        resume: { window: 1 },
        onMessage: (message, line) => message.name === 'b' && line.send(responseTo(message, 'b')),
      })
      const { client } = follow(t, station.url)
      const given = assert.rejects(client.call('a', [], {}, options()))
      const called = client.call('b')
      await given
      assert.equal(await called, 'b')
    })

  it('is sent to the server of reload()', async t => {
    const [first, second] = [
      await ground(t),
      await ground(t, { over: 'ws', onMessage: (message, line) => line.send(responseTo(message, 'second')) }),
    ]
    const { client, opened, events } = follow(t, first.url)
    client.request('telemetry', () => 1)
    await opened()
    const called = client.call('echo')
    const line = await first.line()
    await until(() => line.received.length === 2)
    client.reload({ url: second.url, id: 'copter2' })
    assert.equal(await called, 'second')
    const { received } = await second.line()
    assert.deepEqual((received[0] as Request).kwargs.id, 'copter2')
    assert.equal((received[1] as Request).resend, true)
    assert.deepEqual(closeEvents(events), [{ code: 1000, reason: 'reload', retryIn: 0 }])
    client.close()
    assert.throws(() => client.reload(), failing('gone', 'the connection is closed'))
  })

  it('is dropped if the server closes with a final code', async t => {
    const { url } = await serve(t, { filters: [{ message: (_, client) => client.disconnect(1008, 'not you') }] })
    const { client, events } = follow(t, url)
    await until(() => events.length > 0)
    client.send('hello')
    await until(() => closeEvents(events).length === 1)
    assert.deepEqual(closeEvents(events), [{ code: 1008, reason: 'not you', retryIn: undefined }])
    assert.equal(client.send('hello'), false)
    await assert.rejects(client.call('a'), failing('gone', 'the connection is closed'))
  })
})

describe('a messaging client on TCP', () => {
  it('closes the connection after an invalid frame with the reason, and reconnects', async t => {
    const station = await ground(t)
    const { events, opened } = follow(t, station.url)
    const refused = [
      [Buffer.from([0, 0]), 'the header of a frame is not JSON'],
      [framed('[]'), 'the header of a frame is an object, received an array'],
      [
        framed(headerOf('', { 'content-length': 2 ** 24 + 1 })),
        'a content has at most 16777216 bytes, 16777217 are announced',
      ],
    ] as const
    for (const [i, [bytes, reason]] of refused.entries()) {
      const line = await station.line(i + 1)
      await opened(i + 1)
      line.write(bytes)
      await until(() => closeEvents(events).length === i + 1)
      assert.deepEqual([closeEvents(events)[i]!.code, closeEvents(events)[i]!.reason], [1006, reason])
    }
    await opened(4)
  })

  it('reads frames in chunks of any size', async t => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => void server.close())
    const { port } = server.address() as AddressInfo
    const { client } = follow(t, `tcp://127.0.0.1:${port}`)
    client.request('length', ([text]) => String(text).length)
    const [socket] = (await once(server, 'connection')) as [Socket]
    t.after(() => void socket.destroy())
    const peer = new TcpPeer(socket)
    const frames = Buffer.concat([request('length', '1', ['x'.repeat(300)]), request('id', '2')])
    for (const byte of frames) {
      socket.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    const [, ...answers] = await peer.get(3)
    assert.deepEqual(answers.map(message => (message as { value: unknown }).value).sort(), [300, 'copter1'])
  })

  it('states its id before its first action if the server asks for it at once', async t => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => void server.close())
    const { client } = follow(t, `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
    client.on('open', () => client.emit('telemetry'))
    const [socket] = (await once(server, 'connection')) as [Socket]
    t.after(() => void socket.destroy())
    const peer = new TcpPeer(socket)
    await peer.get(1)
    socket.write(request('id', '0001'))
    await peer.get(2)
    socket.write(response('fws.resume', 'fws.resume', { window: 1000 }))
    assert.deepEqual(
      (await peer.get(3)).map(({ type, name }) => `${type} ${name}`),
      ['request fws.resume', 'response id', 'message telemetry'],
    )
  })

  it('has no timeout for a content, also if its header came in chunks', async t => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => void server.close())
    const { events } = follow(t, `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const [socket] = (await once(server, 'connection')) as [Socket]
    t.after(() => void socket.destroy())
    const peer = new TcpPeer(socket)
    await peer.get(1)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const frame = request('id', '1', ['x'.repeat(300)])
    for (const piece of [frame.subarray(0, 20), frame.subarray(20, -10)]) {
      await new Promise(resolve => socket.write(piece, resolve))
      // Until the client has read it; timers do not run.
      for (const end = performance.now() + 100; performance.now() < end; ) await new Promise(setImmediate)
    }
    t.mock.timers.tick(11_000)
    t.mock.timers.reset()
    socket.write(frame.subarray(-10))
    await until(() => peer.received.length === 2 || closeEvents(events).length > 0)
    assert.deepEqual(closeEvents(events), [])
  })

  it('looks for its server after three failed attempts', async t => {
    const station = await ground(t)
    let asked = 0
    const { client, events, opened } = follow(t, `tcp://127.0.0.1:${await freePort()}`, {
      discover: async () => {
        asked++
        if (asked === 1) throw new Error('not found')
        return { host: '127.0.0.1', port: station.port }
      },
    })
    await opened()
    assert.equal(asked, 2)
    assert.equal(closeEvents(events).length, 7, 'six attempts and the change of the server')
    assert.equal(client.state, 'open')
  })

  it('stops looking for its server when it is closed', async t => {
    let searching: AbortSignal | undefined
    const { client } = follow(t, `tcp://127.0.0.1:${await freePort()}`, {
      discover: ({ signal }) => {
        searching = signal
        return new Promise(() => {})
      },
    })
    await until(() => searching !== undefined)
    assert.equal(searching!.aborted, false)
    client.close()
    assert.equal(searching!.aborted, true)
  })

  it('refuses URLs that it cannot connect to', async t => {
    for (const [url, reason] of [
      ['tcp://127.0.0.1', 'tcp://127.0.0.1 has no port'],
      ['tls://127.0.0.1:x', 'Invalid URL'],
    ] as const) {
      const { events } = follow(t, url, { attempts: 1 })
      await until(() => closeEvents(events).length === 1)
      assert.equal(closeEvents(events)[0]!.reason, reason)
    }
  })

  it('uses TLS, and refuses a server without the authority', async t => {
    const ca = await authority('fleet')
    const { key, cert } = await signed(ca, { commonName: 'localhost' })
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const { port } = await door(t, [], { messagingKey: `${path}/key.pem`, messagingCert: `${path}/cert.pem` })
    const url = `tls://127.0.0.1:${port}`
    const untrusted = follow(t, url, { attempts: 1 })
    await until(() => closeEvents(untrusted.events).length === 1)
    assert.equal(closeEvents(untrusted.events)[0]!.code, 1006)
    const tls = { ca: ca.cert, servername: 'localhost' }
    const { opened } = follow(t, url, { tls })
    await opened()
    // An announcement cannot downgrade TLS to TCP.
    const discover = async () => ({ host: '127.0.0.1', port })
    const moved = follow(t, `tls://127.0.0.1:${await freePort()}`, { tls, discover })
    await moved.opened()
  })
})
