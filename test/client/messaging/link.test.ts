import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import type { Request } from '../../../filters/messaging/wire/message.ts'
import { authority, signed } from '../../support/certificates.ts'
import { folder } from '../../support/cli.ts'
import { ground } from '../../support/ground.ts'
import { door, framed, headerOf, plainly, request, TcpPeer } from '../../support/messaging.ts'
import { answer, failing, follow } from '../../support/messaging-client.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const closes = (told: ReturnType<typeof follow>['told']) =>
  told.flatMap(([type, event]) => (type === 'close' ? [event as { code: number; reason: string }] : []))
const messages = (told: ReturnType<typeof follow>['told']) =>
  told.flatMap(([type, event]) => (type === 'message' ? [event as string | ArrayBuffer] : []))

describe('a messaging client of a plain server', () => {
  it('sends and hears texts and bytes as they are, and actions as texts', async t => {
    const { url } = await serve(t, { filters: ['broadcast'] })
    const other = await Peer.open(url)
    const { client, told, opened } = follow(t, url)
    const heard: unknown[] = []
    client.action('led', (args, kwargs, delivery) => heard.push(plainly([args, kwargs, delivery])))
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
    await until(() => messages(told).length === 5, 'five messages')
    assert.deepEqual(
      messages(told).map(data => (typeof data === 'string' ? data : [...new Uint8Array(data)])),
      ['plain', '{"action":7}', '{"a":1}', 'null', [3]],
    )
    assert.deepEqual(heard, [[[1], {}, { repeated: false, topic: 'fleet' }]])
    assert.equal((told[0]![1] as { protocol: string }).protocol, 'messaging')
  })

  it('has no answers: calls are rejected, those that waited too', async t => {
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

describe('a messaging client of the original', () => {
  it('goes on when nobody knows what resuming is, and is done with an action when it is sent', async t => {
    const station = await ground(t, {
      resume: undefined,
      hear: (said, line) => said.type === 'request' && line.send(answer(said, said.args)),
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

  it('takes one that calls it unknown for such, and one that is off for one of ours', async t => {
    const unknown = await ground(t, { resume: 'unknown' })
    await follow(t, unknown.url).client.deliver('land')
    const off = await ground(t, { resume: 'off' })
    await assert.rejects(
      follow(t, off.url).client.deliver('land', [], {}, { timeout: 50 }),
      failing('timeout', 'no answer to "land" within 50 ms'),
    )
  })
})

describe('what waits in a messaging client', () => {
  it('goes out though no frame can say what is before it', async t => {
    const { url } = await ground(t, { hear: (said, line) => line.send(answer(said, 'done')) })
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
    assert.equal(client.emit(name), true)
    assert.equal(await client.call('telemetry'), 'done')
    assert.equal(client.queued, 0)
  })

  it('is bounded in messages and in bytes', async t => {
    const port = await freePort()
    const url = `tcp://127.0.0.1:${port}`
    const few = follow(t, url, { maxQueued: 2 }).client
    const full = failing('full', 'too much waits for the server')
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

  it('is given up with its time, its signal, and the connection', async t => {
    const { client } = follow(t, `tcp://127.0.0.1:${await freePort()}`)
    await assert.rejects(client.call('a', [], {}, { timeout: 30 }), failing('timeout', 'no answer to "a" within 30 ms'))
    await assert.rejects(client.call('a', [], {}, { signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' })
    assert.equal(client.queued, 0)
    const aborted = follow(t, 'tcp://127.0.0.1:1', { signal: AbortSignal.abort() }).client
    await assert.rejects(aborted.call('a'), failing('gone', 'the connection is gone'))
  })

  it('goes out only as far as the server remembers answers', async t => {
    const station = await ground(t, { resume: { window: 2 } })
    const { client } = follow(t, station.url)
    const calls = ['a', 'b', 'c', 'd'].map(name => client.call(name))
    client.emit('e')
    const line = await station.line()
    await until(() => line.received.length === 3)
    const said = (i: number) => line.received[i] as Request
    // The first is unanswered, so the third would take its place.
    line.send(answer(said(2), 'b'))
    assert.equal(await calls[1], 'b')
    assert.equal(line.received.length, 3)
    line.send(answer(said(1), 'a'))
    await until(() => line.received.length === 6)
    assert.deepEqual(
      line.received.slice(1).map(({ name }) => name),
      ['a', 'b', 'c', 'd', 'e'],
    )
    for (const i of [4, 3]) line.send(answer(said(i), i))
    assert.deepEqual(await Promise.all(calls), ['a', 'b', 3, 4])
  })

  for (const [how, options] of [
    ['in time', () => ({ timeout: 300 })],
    ['by a signal', () => ({ signal: AbortSignal.timeout(300) })],
  ] as const)
    it(`goes out when what it waited for is given up ${how}`, async t => {
      const station = await ground(t, {
        resume: { window: 1 },
        hear: (said, line) => said.name === 'b' && line.send(answer(said, 'b')),
      })
      const { client } = follow(t, station.url)
      const given = assert.rejects(client.call('a', [], {}, options()))
      const called = client.call('b')
      await given
      assert.equal(await called, 'b')
    })

  it('goes to the server that it is told to connect to', async t => {
    const [first, second] = [
      await ground(t),
      await ground(t, { over: 'ws', hear: (said, line) => line.send(answer(said, 'second')) }),
    ]
    const { client, opened, told } = follow(t, first.url)
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
    assert.deepEqual(closes(told), [{ code: 1000, reason: 'reload', retryIn: 0 }])
    client.close()
    assert.throws(() => client.reload(), failing('gone', 'the connection is gone'))
  })

  it('is not told to a server that says that it is over', async t => {
    const { url } = await serve(t, { filters: [{ message: (_, client) => client.disconnect(1008, 'not you') }] })
    const { client, told } = follow(t, url)
    await until(() => told.length > 0)
    client.send('hello')
    await until(() => closes(told).length === 1)
    assert.deepEqual(closes(told), [{ code: 1008, reason: 'not you', retryIn: undefined }])
    assert.equal(client.send('hello'), false)
    await assert.rejects(client.call('a'), failing('gone', 'the connection is gone'))
  })
})

describe('a messaging client on TCP', () => {
  it('leaves a server that sends what is no frame, says why, and comes back', async t => {
    const station = await ground(t)
    const { told, opened } = follow(t, station.url)
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
      await until(() => closes(told).length === i + 1)
      assert.deepEqual([closes(told)[i]!.code, closes(told)[i]!.reason], [1006, reason])
    }
    await opened(4)
  })

  it('hears frames however they are cut', async t => {
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
    assert.deepEqual(answers.map(said => (said as { value: unknown }).value).sort(), [300, 'copter1'])
  })

  it('gives a content the time that it takes, also when its header came in pieces', async t => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => void server.close())
    const { told } = follow(t, `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const [socket] = (await once(server, 'connection')) as [Socket]
    t.after(() => void socket.destroy())
    const peer = new TcpPeer(socket)
    await peer.get(1)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const frame = request('id', '1', ['x'.repeat(300)])
    for (const piece of [frame.subarray(0, 20), frame.subarray(20, -10)]) {
      await new Promise(resolve => socket.write(piece, resolve))
      for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate)
    }
    t.mock.timers.tick(11_000)
    t.mock.timers.reset()
    socket.write(frame.subarray(-10))
    await until(() => peer.received.length === 2 || closes(told).length > 0)
    assert.deepEqual(closes(told), [])
  })

  it('looks for its server after three attempts that fail', async t => {
    const station = await ground(t)
    let asked = 0
    const { client, told, opened } = follow(t, `tcp://127.0.0.1:${await freePort()}`, {
      discover: async () => {
        asked++
        if (asked === 1) throw new Error('nobody there')
        return { host: '127.0.0.1', port: station.port }
      },
    })
    await opened()
    assert.equal(asked, 2)
    assert.equal(closes(told).length, 7, 'six attempts, and the way to the other server')
    assert.equal(client.state, 'open')
  })

  it('looks for no server any more when it is closed', async t => {
    let looking: AbortSignal | undefined
    const { client } = follow(t, `tcp://127.0.0.1:${await freePort()}`, {
      discover: ({ signal }) => {
        looking = signal
        return new Promise(() => {})
      },
    })
    await until(() => looking !== undefined)
    assert.equal(looking!.aborted, false)
    client.close()
    assert.equal(looking!.aborted, true)
  })

  it('refuses URLs that it cannot connect to', async t => {
    for (const [url, reason] of [
      ['tcp://127.0.0.1', 'tcp://127.0.0.1 has no port'],
      ['tls://127.0.0.1:x', 'Invalid URL'],
    ] as const) {
      const { told } = follow(t, url, { attempts: 1 })
      await until(() => closes(told).length === 1)
      assert.equal(closes(told)[0]!.reason, reason)
    }
  })

  it('speaks TLS, and believes nobody without the authority', async t => {
    const ca = await authority('fleet')
    const { key, cert } = await signed(ca, { commonName: 'localhost' })
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert })
    const { port } = await door(t, [], { messagingKey: `${path}/key.pem`, messagingCert: `${path}/cert.pem` })
    const url = `tls://127.0.0.1:${port}`
    const stranger = follow(t, url, { attempts: 1 })
    await until(() => closes(stranger.told).length === 1)
    assert.equal(closes(stranger.told)[0]!.code, 1006)
    const tls = { ca: ca.cert, servername: 'localhost' }
    const { opened } = follow(t, url, { tls })
    await opened()
    // Whoever announces another server cannot have the client speak to it in the clear.
    const discover = async () => ({ host: '127.0.0.1', port })
    const moved = follow(t, `tls://127.0.0.1:${await freePort()}`, { tls, discover })
    await moved.opened()
  })
})
