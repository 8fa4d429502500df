import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Client, FilterModule, Payload, RunningServer } from '../../src/index.ts'
import { BINARY, CLOSE, frame, RawPeer, TEXT } from '../support/frames.ts'
import { Peer, serve, until } from '../support/peer.ts'

const MAX_BUFFERED = 100_000
/** Bytes of one read of a socket. */
const ONE_READ = 65_536
/** Memory growth that is not a leak: garbage, and buffers of the test clients. */
const NOISE = 128 * 1024 * 1024

/** A client that stops reading, and its client on the server. */
async function stuckPeer(server: RunningServer): Promise<{ peer: RawPeer; client: Client }> {
  const before = new Set(server.clients.keys())
  const peer = await RawPeer.open(server.url)
  peer.socket.pause()
  const [id] = [...server.clients.keys()].filter(known => !before.has(known))
  return { peer, client: server.clients.get(id!)! }
}

/** Waits until `measure` is stable over several round trips of another client. */
async function settled(measure: () => number, clock: RawPeer): Promise<void> {
  let last = measure()
  for (let same = 0; same < 50; same++) {
    await clock.roundTrip()
    const now = measure()
    if (now !== last) same = 0
    last = now
  }
}

/** Writes pieces one by one, each after the previous one has left the process. */
function flood(peer: RawPeer, pieces: readonly Buffer[]): { written: number; done: Promise<void> } {
  const progress = { written: 0, done: Promise.resolve() }
  const run = async () => {
    for (const piece of pieces) {
      await new Promise(resolve => peer.socket.write(piece, resolve))
      progress.written += piece.length
    }
  }
  progress.done = run()
  return progress
}

// Each has other components between the socket and the client.
const taps: readonly (readonly [name: string, filter: FilterModule])[] = [
  ['without a data filter', {}],
  ['behind a data filter', { data: () => {} }],
  ['behind an async data filter', { data: async () => {} }],
]

for (const [name, tap] of taps.slice(0, 2)) {
  describe(`a client that never reads, ${name}`, () => {
    it('is closed with 1013 above four times max-buffered unsent bytes, without delaying others', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: MAX_BUFFERED })
      const { peer, client } = await stuckPeer(server)
      const other = await Peer.open(server.url)
      let sent = 0
      let peak = 0
      while (server.counters.drops['slow client'] === undefined) {
        server.broadcast(`${sent++}`.padEnd(10_000))
        await turn()
        // After the message that exceeds the limit the client is closed, and `buffered` is meaningless.
        if (server.counters.drops['slow client'] === undefined) peak = Math.max(peak, client.buffered)
        if (sent % 50 === 0) await other.get(sent)
      }
      // Four times the limit unsent; under load a flush has the broadcasts of several turns, up to max-buffered.
      assert.ok(sent * 10_000 > MAX_BUFFERED && peak <= 5 * MAX_BUFFERED + 10_004, `${sent} messages, ${peak} bytes`)
      server.broadcast('after')
      sent++
      assert.deepEqual(
        (await other.get(sent)).map(text => String(text).trim()),
        [...Array.from({ length: sent - 1 }, (_, i) => `${i}`), 'after'],
      )
      peer.socket.resume()
      assert.equal(await peer.echoClose(), 1013)
      assert.equal(String(peer.frames.at(-1)!.payload.subarray(2)), 'too slow')
      await until(() => server.counters.closed === 1)
      assert.deepEqual({ ...server.counters.closes }, { 1013: 1 })
      assert.deepEqual({ ...server.counters.drops }, { 'slow client': 1 })
      assert.equal(server.clients.size, 1)
    })

    it('gets all accepted messages before the Close frame, in order', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: MAX_BUFFERED })
      const { peer, client } = await stuckPeer(server)
      let sent = 0
      while (server.counters.drops['slow client'] === undefined) {
        for (let i = 0; i < 3; i++) client.send(`${sent++}`.padEnd(10_000))
        await turn()
      }
      peer.socket.resume()
      await peer.echoClose()
      const texts = peer.frames.filter(({ opcode }) => opcode === TEXT).map(({ payload }) => String(payload).trim())
      assert.deepEqual(
        texts,
        Array.from({ length: texts.length }, (_, i) => `${i}`),
      )
      assert.equal(peer.frames.at(-1)!.opcode, CLOSE)
    })

    it('stays open under slow-clients drop, and each dropped message is counted', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: MAX_BUFFERED, slowClients: 'drop' })
      const { peer, client } = await stuckPeer(server)
      let sent = 0
      let peak = 0
      while ((server.counters.drops['slow client'] ?? 0) < 100) {
        server.broadcast(`${sent++}`.padEnd(10_000))
        await turn()
        peak = Math.max(peak, client.buffered)
      }
      // Under load a flush has the broadcasts of several turns, up to max-buffered.
      assert.ok(peak <= 2 * MAX_BUFFERED + 10_004, `${peak} bytes`)
      assert.equal(server.clients.size, 1)
      peer.socket.resume()
      await until(() => client.buffered === 0)
      server.broadcast('after')
      await until(() => peer.frames.at(-1)?.payload.toString() === 'after')
      assert.equal(peer.frames.length + server.counters.drops['slow client']!, sent + 1)
      assert.deepEqual({ ...server.counters.closes }, {})
      peer.socket.destroy()
    })

    for (const slowClients of ['close', 'drop'] as const) {
      it(`does not grow memory under slow-clients ${slowClients}, however much is broadcast`, async t => {
        const server = await serve(t, { filters: [tap], maxBuffered: MAX_BUFFERED, slowClients })
        const { peer } = await stuckPeer(server)
        const other = await Peer.open(server.url)
        let got = 0
        other.ws.removeAllListeners('message').on('message', () => got++)
        const message = Buffer.alloc(50_000)
        let sent = 0
        const broadcast = async (bytes: number) => {
          for (const end = sent + bytes / message.length; sent < end; sent++) {
            server.broadcast(message)
            while (got < sent) await turn()
          }
        }
        await broadcast(20_000_000)
        const before = process.memoryUsage().rss
        await broadcast(300_000_000)
        const grown = process.memoryUsage().rss - before
        assert.ok(grown < NOISE, `${grown} bytes`)
        assert.ok(server.counters.drops['slow client']! > 0)
        peer.socket.destroy()
      })
    }
  })

  describe(`a message larger than max-buffered, ${name}`, () => {
    const LARGE = 10_000_000

    it('is delivered to a client that reads, and does not count as slow', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: 10_000 })
      const { peer, client } = await stuckPeer(server)
      client.send('before')
      client.send(Buffer.alloc(LARGE, 1))
      client.send('behind')
      await turn()
      // The kernel takes part of it; the rest is in flight.
      assert.ok(client.buffered > 10_000, `${client.buffered} bytes`)
      client.send('later')
      await turn()
      peer.socket.resume()
      const got = await peer.get(4)
      assert.deepEqual(
        got.map(({ opcode, payload }) => [opcode, payload.length]),
        [
          [TEXT, 6],
          [BINARY, LARGE],
          [TEXT, 6],
          [TEXT, 5],
        ],
      )
      assert.ok(got[1]!.payload.equals(Buffer.alloc(LARGE, 1)))
      assert.deepEqual({ ...server.counters.drops }, {})
      peer.socket.destroy()
    })

    it('may also be broadcast repeatedly', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: 10_000 })
      const peers = await Promise.all(Array.from({ length: 3 }, () => Peer.open(server.url, { maxPayload: LARGE })))
      for (let i = 1; i <= 3; i++) {
        server.broadcast(Buffer.alloc(LARGE, i))
        for (const peer of peers) assert.ok((await peer.get(i))[i - 1]!.length === LARGE)
        await until(() => [...server.clients.values()].every(client => client.buffered === 0))
      }
      assert.deepEqual({ ...server.counters.drops }, {})
    })

    it('may not be in flight twice to a client that does not read', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: 10_000 })
      const { peer, client } = await stuckPeer(server)
      client.send(Buffer.alloc(LARGE))
      await turn()
      assert.equal(server.counters.drops['slow client'], undefined)
      client.send(Buffer.alloc(LARGE))
      await turn()
      assert.equal(server.counters.drops['slow client'], 1)
      peer.socket.resume()
      assert.equal(await peer.echoClose(), 1013)
    })
  })
}

describe('100,000 sends in one turn of the event loop', () => {
  it('to one client are bounded by max-buffered', async t => {
    const server = await serve(t, { filters: [], maxBuffered: MAX_BUFFERED })
    const peer = await Peer.open(server.url)
    const [client] = server.clients.values()
    let peak = 0
    for (let i = 0; i < 100_000; i++) {
      client!.send(`${i}`.padEnd(300))
      peak = Math.max(peak, client!.buffered)
    }
    // Four times the limit unsent, and the bytes of this turn.
    assert.ok(peak <= 5 * MAX_BUFFERED + 304, `${peak} bytes`)
    assert.equal((await peer.end()).code, 1013)
    assert.ok(server.counters.drops['closed client']! > 0)
    assert.deepEqual(
      peer.received.map(text => String(text).trim()),
      Array.from({ length: peer.received.length }, (_, i) => `${i}`),
    )
  })

  it('to all clients are bounded by max-buffered', async t => {
    const server = await serve(t, { filters: [], maxBuffered: MAX_BUFFERED })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    const before = process.memoryUsage().arrayBuffers
    let peak = 0
    for (let i = 0; i < 100_000; i++) {
      server.broadcast(`${i}`.padEnd(300))
      if (i % 1000 === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
    }
    assert.ok(peak < NOISE, `${peak} bytes`)
    for (const peer of peers) {
      assert.equal((await peer.end()).code, 1013)
      assert.deepEqual(
        peer.received.map(text => String(text).trim()),
        Array.from({ length: peer.received.length }, (_, i) => `${i}`),
      )
    }
  })

  it('all arrive if they fit in max-buffered', async t => {
    const server = await serve(t, { filters: [], maxBuffered: 100_000_000 })
    const peer = await Peer.open(server.url)
    const [client] = server.clients.values()
    for (let i = 0; i < 50_000; i++) {
      client!.send(`send ${i}`)
      server.broadcast(`broadcast ${i}`)
    }
    await peer.get(100_000)
    assert.deepEqual(
      peer.received,
      Array.from({ length: 100_000 }, (_, i) => `${i % 2 === 0 ? 'send' : 'broadcast'} ${Math.floor(i / 2)}`),
    )
  })
})

describe('sends before a client is open', () => {
  it('are bounded by max-buffered: a further one is an error of the filter', async t => {
    const messages: string[] = []
    const server = await serve(t, {
      filters: [
        {
          connect: client => {
            try {
              for (let i = 0; i < 10; i++) client.send('x'.repeat(300))
            } catch (error) {
              messages.push((error as Error).message.replace(client.id, 'ID'))
            }
          },
        },
      ],
      maxBuffered: 1000,
    })
    const peer = await Peer.open(server.url)
    await peer.get(3)
    assert.deepEqual(messages, ['client ID is not open yet: 1216 bytes wait for it, --max-buffered is 1000'])
  })
})

for (const [name, tap] of taps) {
  describe(`a flood of messages to a slow filter, ${name}`, () => {
    const MAX_QUEUED = 100

    it('pauses the socket, bounds the queue, loses no message and keeps the order', async t => {
      const COUNT = 50_000
      const seen: number[] = []
      let queued = 0
      const server = await serve(t, {
        filters: [
          tap,
          {
            message: async payload => {
              queued = Math.max(queued, server.counters.messages - seen.length)
              await turn()
              seen.push((payload as Buffer).readUInt16BE())
            },
          },
        ],
        maxQueued: MAX_QUEUED,
      })
      const peer = await RawPeer.open(server.url)
      const frames = Array.from({ length: COUNT }, (_, i) => {
        const number = Buffer.alloc(2)
        number.writeUInt16BE(i)
        return frame(BINARY, number)
      })
      peer.send(...frames)
      await until(() => seen.length === COUNT, 'all messages', 120_000)
      assert.deepEqual(
        seen,
        Array.from({ length: COUNT }, (_, i) => i),
      )
      assert.ok(server.counters.paused > 1, `paused ${server.counters.paused} times`)
      assert.ok(queued <= MAX_QUEUED + ONE_READ / frames[0]!.length + 1, `${queued} messages queued`)
      peer.socket.destroy()
    })

    it('stays with the peer while the filter is blocked', async t => {
      let release = () => {}
      const released = new Promise<void>(resolve => {
        release = resolve
      })
      t.after(release)
      const seen: number[] = []
      const server = await serve(t, {
        filters: [
          tap,
          {
            message: async payload => {
              await released
              seen.push((payload as Buffer).readUInt32BE())
            },
          },
        ],
        maxQueued: MAX_QUEUED,
        filterTimeout: 0,
        drain: 0,
      })
      const peer = await RawPeer.open(server.url)
      const clock = await RawPeer.open(server.url)
      const before = process.memoryUsage().rss
      const pieces = Array.from({ length: 1024 }, (_, piece) =>
        Buffer.concat(
          Array.from({ length: 64 }, (_, i) => {
            const payload = Buffer.alloc(1000)
            payload.writeUInt32BE(piece * 64 + i)
            return frame(BINARY, payload)
          }),
        ),
      )
      const all = pieces.reduce((bytes, piece) => bytes + piece.length, 0)
      const progress = flood(peer, pieces)
      await settled(() => progress.written, clock)
      // The buffers of the kernel are not limited.
      assert.ok(progress.written < all / 2, `${progress.written} bytes of ${all} were taken in`)
      assert.ok(server.counters.messages <= MAX_QUEUED + ONE_READ / 1000 + 2, `${server.counters.messages} messages`)
      assert.equal(server.counters.paused, 1)
      const grown = process.memoryUsage().rss - before - all
      assert.ok(grown < NOISE, `${grown} bytes`)
      release()
      await progress.done
      await until(() => seen.length === 1024 * 64, 'all messages', 120_000)
      assert.deepEqual(
        seen,
        Array.from({ length: 1024 * 64 }, (_, i) => i),
      )
      peer.socket.destroy()
      clock.socket.destroy()
    })

    it('is bounded in bytes as well as in messages', async t => {
      const SIZE = 50_000
      let release = () => {}
      const released = new Promise<void>(resolve => {
        release = resolve
      })
      t.after(release)
      let bytes = 0
      const server = await serve(t, {
        filters: [
          tap,
          {
            message: async (payload: Payload) => {
              await released
              bytes += payload.length
            },
          },
        ],
        maxBuffered: MAX_BUFFERED,
        filterTimeout: 0,
        drain: 0,
      })
      const peer = await RawPeer.open(server.url)
      const clock = await RawPeer.open(server.url)
      const progress = flood(peer, Array(400).fill(frame(BINARY, Buffer.alloc(SIZE))))
      await settled(() => progress.written, clock)
      // The first is in the filter, the others are queued.
      assert.ok(server.counters.bytesIn <= SIZE + MAX_BUFFERED + ONE_READ + SIZE, `${server.counters.bytesIn} bytes`)
      release()
      await until(() => bytes === 400 * SIZE, 'all bytes', 120_000)
      peer.socket.destroy()
      clock.socket.destroy()
    })

    for (const chain of ['connect', 'open'] as const) {
      it(`is also bounded while the ${chain} chain runs, and complete after it`, async t => {
        const SIZE = 1000
        let release = () => {}
        const released = new Promise<void>(resolve => {
          release = resolve
        })
        t.after(release)
        let isReadPaused = false
        const seen: Payload[] = []
        const holdFirst = () => {
          if (isReadPaused) return undefined
          isReadPaused = true
          return released
        }
        const server = await serve(t, {
          filters: [tap, { [chain]: holdFirst }, { message: payload => void seen.push(payload) }],
          maxQueued: MAX_QUEUED,
          filterTimeout: 0,
          handshakeTimeout: 0,
          drain: 0,
        })
        const peer = await RawPeer.sendHandshake(server.url)
        await until(() => isReadPaused)
        const clock = await RawPeer.open(server.url)
        const pieces: Buffer[] = Array(512).fill(Buffer.concat(Array(64).fill(frame(BINARY, Buffer.alloc(SIZE)))))
        const progress = flood(peer, pieces)
        await settled(() => progress.written, clock)
        assert.ok(progress.written < 16_000_000, `${progress.written} bytes were taken in`)
        assert.ok(server.counters.messages <= MAX_QUEUED + ONE_READ / SIZE + 2, `${server.counters.messages} messages`)
        release()
        await until(() => seen.length === 512 * 64, 'all messages', 120_000)
        peer.socket.destroy()
        clock.socket.destroy()
      })
    }
  })
}

describe('a flood to a fast filter', () => {
  it('does not grow memory', async t => {
    let bytes = 0
    const server = await serve(t, {
      filters: [
        {
          message: payload => {
            bytes += payload.length
          },
        },
      ],
    })
    const peer = await RawPeer.open(server.url)
    const piece = Buffer.concat(Array(64).fill(frame(BINARY, Buffer.alloc(1000))))
    await flood(peer, Array(200).fill(piece)).done
    const before = process.memoryUsage().rss
    await flood(peer, Array(2800).fill(piece)).done
    await until(() => bytes === 3000 * 64_000)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < NOISE, `${grown} bytes`)
    assert.equal(server.counters.paused, 0)
    peer.socket.destroy()
  })
})

for (const [name, tap] of taps) {
  describe(`drained(), ${name}`, () => {
    it('lets a filter send any amount to a client that reads', async t => {
      const MESSAGES = 500
      const filter: FilterModule = {
        message: async (_, client) => {
          for (let i = 0; i < MESSAGES; i++) {
            client.send(`${i}`.padEnd(10_000))
            await client.drained()
          }
        },
      }
      const { url, counters } = await serve(t, { filters: [tap, filter], maxBuffered: MAX_BUFFERED })
      const peer = await Peer.open(url)
      peer.send('go')
      const got = await peer.get(MESSAGES)
      assert.deepEqual(
        got.map(text => Number(text)),
        [...Array(MESSAGES).keys()],
      )
      assert.deepEqual({ ...counters.drops }, {})
    })

    it('waits for a client that does not read until it reads or has left', async t => {
      const server = await serve(t, { filters: [tap], maxBuffered: 100 * MAX_BUFFERED })
      for (const end of ['resume', 'destroy'] as const) {
        const { peer, client } = await stuckPeer(server)
        let isDrained = false
        const clock = await RawPeer.open(server.url)
        // The buffers of the kernels are full.
        do {
          client.send('x'.repeat(1_000_000))
          await settled(() => client.buffered, clock)
        } while (client.buffered < MAX_BUFFERED)
        const drained = Promise.all([client.drained(), client.drained()]).then(() => {
          isDrained = true
        })
        await clock.roundTrip()
        assert.equal(isDrained, false)
        peer.socket[end]()
        await drained
      }
      const { client } = await stuckPeer(server)
      await client.drained()
    })
  })
}
