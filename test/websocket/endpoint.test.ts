import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as passed } from 'node:timers/promises'
import { deflateRawSync } from 'node:zlib'
import type { Closed, FilterModule, Payload, RunningServer, ServerOptions } from '../../src/index.ts'
import { selfSignedFiles } from '../support/certificates.ts'
import type { Test } from '../support/cli.ts'
import { BINARY, CLOSE, CONTINUATION, closeFrame, frame, PING, PONG, RawPeer, TEXT } from '../support/frames.ts'
import { gate } from '../support/gate.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** Answers each message after a turn of the event loop or more. */
const slowEcho: FilterModule = {
  message: async (payload, client) => {
    await passed(5)
    client.send(payload)
  },
}
/** Between the socket and the endpoint. */
const data: FilterModule = { data: () => {} }
const lateData: FilterModule = { data: async () => {} }
const ways: readonly (readonly [string, Serve])[] = [
  ['', serve],
  [', behind a data filter', behind([data])],
  [', behind an async data filter', behind([lateData])],
  [', over TLS', overTls],
  [', over TLS behind an async data filter', (t, options) => overTls(t, withFilters([lateData], options))],
]

type Serve = (t: Test, options: ServerOptions) => Promise<RunningServer>

function withFilters(first: readonly FilterModule[], options: ServerOptions): ServerOptions {
  return { ...options, filters: [...first, ...(options.filters ?? [])] }
}

function behind(first: readonly FilterModule[]): Serve {
  return (t, options) => serve(t, withFilters(first, options))
}

async function overTls(t: Test, options: ServerOptions): Promise<RunningServer> {
  const { files } = await selfSignedFiles(t)
  return serve(t, { ...options, ...files })
}

const shown = (peer: RawPeer) => peer.frames.map(({ opcode, payload }) => [opcode, payload.toString('latin1')])

describe('messages before the end of a connection are handled and answered first', () => {
  const answers = ['one', 'two', 'three'].map(text => [TEXT, text])
  const messages = ['one', 'two', 'three'].map(text => frame(TEXT, text))

  for (const [way, serveSo] of ways) {
    for (const [what, end, last, code] of [
      ['a Close frame', closeFrame(1000), [CLOSE, '\x03\xe8'], 1000],
      ['a frame that breaks a rule', frame(TEXT, 'x', { rsv: 4 }), [CLOSE, '\x03\xea'], 1002],
      ['text that is not UTF-8', frame(TEXT, Buffer.from([0xff])), [CLOSE, '\x03\xef'], 1007],
    ] as const) {
      it(`before ${what}${way}`, async t => {
        const left: Closed[] = []
        const disconnect = (_: unknown, how: Closed) => void left.push(how)
        const server = await serveSo(t, { filters: [slowEcho, { disconnect }] })
        const peer = await RawPeer.open(server.url)
        peer.send(...messages, end)
        await peer.end()
        assert.deepEqual(shown(peer), [...answers, last])
        await until(() => left.length > 0)
        assert.deepEqual(left, [{ code, reason: '', clean: code === 1000 }])
      })
    }

    it(`before the end of the stream, all with the request, while an async connect filter works${way}`, async t => {
      const connect = async () => void (await passed(20))
      const server = await serveSo(t, { filters: [{ connect }, slowEcho] })
      const peer = await RawPeer.open(server.url, {}, Buffer.concat(messages), { isLast: true })
      await peer.end()
      assert.deepEqual(shown(peer), answers)
    })

    it(`before the end of the stream${way}`, async t => {
      const server = await serveSo(t, { filters: [slowEcho] })
      const peer = await RawPeer.open(server.url)
      peer.socket.end(Buffer.concat(messages))
      await peer.end()
      assert.deepEqual(shown(peer), answers)
      await until(() => server.counters.closed === 1)
      assert.deepEqual({ ...server.counters.closes }, { 1006: 1 })
    })
  }

  it('but not if the server disconnects the client meanwhile', async t => {
    const disconnects: FilterModule = {
      message: async (payload, client) => {
        await passed(5)
        return payload === 'two' ? client.disconnect(4000, 'enough') : client.send(payload)
      },
    }
    const server = await serve(t, { filters: [disconnects] })
    const peer = await RawPeer.open(server.url)
    peer.send(...messages, closeFrame(1000))
    assert.equal(await peer.end(), 4000)
    assert.deepEqual(shown(peer)[0], [TEXT, 'one'])
    assert.equal(peer.frames.length, 2)
  })
})

describe('text that is not UTF-8', () => {
  const begun = (bytes: readonly number[], declared = 1000) => frame(TEXT, Buffer.from(bytes), { declared })
  for (const [what, bytes] of [
    ['a byte that is never valid', begun([0x61, 0xff])],
    ['a character that is longer than it may be', begun([0xe0, 0x80])],
    ['a character beyond the last one', begun([0xf4, 0x90])],
    ['half of a surrogate pair', begun([0xed, 0xa0])],
    ['a continuation alone', begun([0x80])],
    ['a character that does not go on', begun([0xc3, 0x28])],
    ['a fragment', frame(TEXT, Buffer.from([0x61, 0xff]), { fin: false })],
    [
      'a character in two fragments',
      Buffer.concat([
        frame(TEXT, Buffer.from([0xe2]), { fin: false }),
        frame(CONTINUATION, Buffer.from([0x28]), { fin: false }),
      ]),
    ],
  ] as const) {
    it(`is refused at its first wrong byte, before the message is complete: ${what}`, async t => {
      const server = await serve(t, { filters: [] })
      const peer = await RawPeer.open(server.url)
      peer.send(bytes)
      assert.equal(await peer.end(), 1007)
    })
  }

  it('is refused when the rest of a character does not come', async t => {
    const server = await serve(t, { filters: [] })
    const peer = await RawPeer.open(server.url)
    peer.send(frame(TEXT, Buffer.from([0xe2, 0x82]), { fin: false }))
    await peer.roundTrip()
    peer.send(frame(CONTINUATION))
    await peer.end()
    assert.equal(peer.closeCode, 1007)
  })
})

describe('a peer that goes on after its connection was closed', () => {
  for (const [code, bytes] of [
    [1002, frame(TEXT, 'x', { rsv: 4 })],
    [1007, frame(TEXT, Buffer.from([0xff]))],
    [1008, frame(TEXT, 'forbidden')],
    [1009, frame(BINARY, '', { declared: 2 ** 40 })],
  ] as const) {
    it(`with ${code} is read for 64 KiB more, and cut off after a second`, async t => {
      const filter: FilterModule = {
        message: (payload, client) => (payload === 'forbidden' ? client.disconnect(1008) : undefined),
      }
      const server = await serve(t, { filters: [filter] })
      const peer = await RawPeer.open(server.url)
      peer.send(bytes)
      await until(() => peer.closeCode === code)
      const start = performance.now()
      const flood = Buffer.concat(Array(10_000).fill(frame(TEXT, 'x')))
      for (let i = 0; i < 1000 && !peer.isClosed; i++)
        await Promise.race([new Promise(resolve => peer.socket.write(flood, resolve)), peer.end()])
      await peer.end()
      assert.ok(performance.now() - start < 8000, `${performance.now() - start} ms`)
      // Some frames are in the read of the last byte.
      assert.ok(
        (server.counters.drops['closing client'] ?? 0) <= (2 * 65_536) / 7,
        JSON.stringify(server.counters.drops),
      )
      await until(() => server.counters.closed === 1)
    })
  }
})

describe('compressed messages for a slow filter', () => {
  it('are not inflated while the client is paused, so that what waits is bounded by max-buffered and one message', async t => {
    const MIB = 1_048_576
    const { opened, open } = gate()
    let handled = 0
    const filter: FilterModule = {
      message: async payload => {
        await opened
        assert.equal(payload.length, MIB)
        handled++
      },
    }
    const server = await serve(t, { filters: [filter], compress: true })
    const peer = await RawPeer.open(server.url, { 'Sec-WebSocket-Extensions': 'permessage-deflate' })
    const bomb = frame(BINARY, deflateRawSync(Buffer.alloc(MIB), { finishFlush: 2 }).subarray(0, -4), { rsv: 4 })
    peer.send(...Array(60).fill(bomb))
    await until(() => server.counters.paused === 1)
    await passed(50)
    assert.ok(server.counters.messages <= 3, `${server.counters.messages} messages`)
    open()
    await until(() => handled === 60)
    peer.send(closeFrame(1000))
    assert.equal(await peer.end(), 1000)
  })

  it('and the end of the stream waits for them', async t => {
    const { opened, open } = gate()
    const seen: string[] = []
    const message = async (payload: Payload) => {
      await opened
      seen.push(String(payload))
    }
    const server = await serve(t, { filters: [{ message }], maxQueued: 2 })
    const peer = await RawPeer.open(server.url)
    const texts = Array.from({ length: 100 }, (_, i) => `${i}`)
    peer.socket.end(Buffer.concat(texts.map(text => frame(TEXT, text))))
    await until(() => server.counters.paused === 1)
    await passed(50)
    open()
    await until(() => server.counters.closed === 1)
    assert.deepEqual(seen, texts)
  })
})

describe('pings', () => {
  it('of a peer that does not read get one pong when it reads', async t => {
    const server = await serve(t, { filters: ['echo'], maxControl: 0, maxBuffered: 100_000_000 })
    const peer = await RawPeer.open(server.url)
    const client = [...server.clients.values()][0]!
    peer.socket.pause()
    // More than the system takes.
    client.send(Buffer.alloc(20_000_000))
    await passed(10)
    for (let i = 0; i < 1000; i++) peer.send(frame(PING, `${i}`))
    peer.send(frame(TEXT, 'after'))
    await until(() => server.counters.messages === 1)
    peer.socket.resume()
    await until(
      () => shown(peer).some(([opcode]) => opcode === PONG) && shown(peer).some(([, text]) => text === 'after'),
    )
    const pongs = peer.frames.filter(({ opcode }) => opcode === PONG)
    assert.ok(pongs.length < 1000, `${pongs.length}`)
    assert.equal(String(pongs.at(-1)!.payload), '999')
    peer.socket.destroy()
  })
})

describe('a burst of broadcasts', () => {
  it('larger than max-buffered does not close clients that read', async t => {
    const MIB = 1_048_576
    const server = await serve(t, { filters: [], maxBuffered: MIB })
    const got = new Map<Peer, number>()
    const peers = await Promise.all(Array.from({ length: 20 }, () => Peer.open(server.url, { maxPayload: MIB })))
    for (const peer of peers)
      peer.ws
        .removeAllListeners('message')
        .on('message', (data: Payload) => got.set(peer, (got.get(peer) ?? 0) + data.length))
    const burst = Array.from({ length: 48 }, (_, i) => Buffer.alloc(MIB / 8, i))
    for (const message of burst) server.broadcast(message)
    await until(() => peers.every(peer => got.get(peer) === 6 * MIB) || server.counters.closed > 0)
    assert.deepEqual([server.counters.closed, { ...server.counters.drops }], [0, {}])
  })
})

describe('a client that reads slowly', () => {
  for (const [way, serveSo] of ways) {
    it(`lives while it reads a large message${way}`, async t => {
      const server = await serveSo(t, { filters: [], heartbeat: 0.2, maxBuffered: 100_000_000 })
      const peer = await RawPeer.open(server.url)
      const client = [...server.clients.values()][0]!
      peer.socket.pause()
      client.send(Buffer.alloc(20_000_000))
      let read = 0
      peer.socket.removeAllListeners('data').on('data', chunk => {
        read += chunk.length
      })
      // 20 MB in steps of 100 ms: several intervals, in which no pong arrives.
      while (read < 20_000_000 && !peer.isClosed) {
        peer.socket.resume()
        const upTo = read + 800_000
        await until(() => read >= upTo || read >= 20_000_000 || peer.isClosed)
        peer.socket.pause()
        await passed(100)
      }
      assert.deepEqual([peer.isClosed, server.counters.closed], [false, 0])
      peer.socket.destroy()
    })
  }
})
