// What waits costs at most twice the memory that is counted for it. Memory is measured in array buffers after a collection.
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Transport } from '../../src/contract/transport.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import { Fanout } from '../../src/fanout/fanout.ts'
import { frame } from '../../src/fanout/frame.ts'
import { Outbox } from '../../src/fanout/outbox.ts'
import type { Topic } from '../../src/fanout/topic.ts'
import { plain, Wires } from '../../src/fanout/wire.ts'
import { FrameParser, type FrameSink } from '../../src/websocket/parser.ts'
import { BINARY, CONTINUATION, frame as clientFrame, PING, RawPeer, TEXT } from '../support/frames.ts'
import { serve, until } from '../support/peer.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of memory that `make` leaves in use. */
async function costOf(make: () => unknown): Promise<number> {
  const before = await used()
  const made = make()
  const cost = (await used()) - before
  // Not collected before the measurement.
  assert.ok(made !== undefined)
  return cost
}

/** Memory is freed in the background after a collection. */
async function used(): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    collect()
    await turn()
    least = Math.min(least, process.memoryUsage().arrayBuffers)
  }
  return least
}

const ignore = () => {}
const sink: FrameSink = {
  onText: ignore,
  onBinary: ignore,
  onPing: ignore,
  onPong: ignore,
  onClose: ignore,
  onEmptyFragment: ignore,
  onInvalid: (_, why) => assert.fail(why),
}

describe('an unfinished message', () => {
  const COUNT = 1000
  for (const [what, bytes] of [
    ['in reads of one byte', clientFrame(BINARY, Buffer.alloc(1000), { declared: 500_000 })],
    ['as text', clientFrame(TEXT, 'x'.repeat(1000), { declared: 500_000 })],
    [
      'in fragments of one byte',
      Buffer.concat([
        clientFrame(TEXT, 'x', { fin: false }),
        ...Array(999).fill(clientFrame(CONTINUATION, 'x', { fin: false })),
      ]),
    ],
  ] as const) {
    it(`${what} costs at most twice the bytes that have come`, async () => {
      const cost = await costOf(() =>
        Array.from({ length: COUNT }, () => {
          const parser = new FrameParser(sink, 1_048_576, 0)
          // As a socket gives them: each byte in a read of its own.
          for (const byte of bytes) parser.push(Buffer.alloc(1, byte))
          return parser
        }),
      )
      assert.ok(cost <= 2 * COUNT * 1000 + 100_000, `${cost} bytes`)
    })
  }

  it('of which only a part of the header has come costs no more', async () => {
    for (const bytes of [
      clientFrame(BINARY, '', { declared: 500_000 }).subarray(0, 9),
      clientFrame(PING, 'x'.repeat(100)).subarray(0, 50),
    ]) {
      const cost = await costOf(() =>
        Array.from({ length: COUNT }, () => {
          const parser = new FrameParser(sink, 1_048_576, 0)
          const read = Buffer.alloc(65_536)
          bytes.copy(read)
          parser.push(read.subarray(0, bytes.length))
          return parser
        }),
      )
      assert.ok(cost <= 2 * COUNT * bytes.length, `${cost} bytes`)
    }
  })
})

describe('frames that wait for a slow socket', () => {
  const wire = new Wires(error => assert.ifError(error)).of(plain, frame)
  const limits = { maxBuffered: 10_000_000, slowClients: 'close' } as const
  const owner = { fellBehind: () => assert.fail(), transportFailed: (error: unknown) => assert.ifError(error) }

  /** A client whose socket takes nothing. */
  function stuck(): { outbox: Outbox<Topic>; socket: Duplex } {
    const socket = Object.assign(new Duplex({ write: ignore, read: ignore }), { bytesWritten: 0 })
    const outbox = new Outbox<Topic>(wire, limits, createCounters(), owner)
    outbox.open({ socket } as unknown as Transport)
    return { outbox, socket }
  }

  it('cost at most twice the bytes that are counted, when other clients get frames in between', async () => {
    const fanout = new Fanout(1_000_000)
    const slow = stuck()
    const cost = await costOf(() => {
      for (let i = 0; i < 10_000; i++) {
        fanout.send(slow.outbox, frame('x'.repeat(86)))
        // Frames of others in the same block.
        for (let other = 0; other < 100; other++) frame('y'.repeat(86))
        fanout.flush()
      }
      return slow
    })
    assert.equal(slow.outbox.unsent, 880_000)
    assert.ok(cost <= 2 * slow.outbox.unsent, `${cost} bytes`)
  })

  it('cost at most 8 KiB for each client whose first one waits', async () => {
    const fanout = new Fanout(1_000_000)
    const cost = await costOf(() =>
      Array.from({ length: 1000 }, () => {
        const { outbox } = stuck()
        fanout.send(outbox, frame('x'))
        fanout.flush()
        for (let other = 0; other < 1000; other++) frame('y'.repeat(86))
        return outbox
      }),
    )
    assert.ok(cost <= 1000 * 8192 + 100_000, `${cost} bytes`)
  })
})

describe('small frames among those of other clients', () => {
  const CLIENTS = 500
  /** Fills the rest of each block. */
  const others = () => {
    for (let other = 0; other < 200; other++) frame('y'.repeat(86))
  }

  it('that wait for a pending client cost at most twice their bytes', async t => {
    const server = await serve(t, {
      filters: [
        {
          open: client => {
            client.hold()
          },
        },
      ],
      maxClients: CLIENTS,
      holdTimeout: 0,
    })
    const peers = await Promise.all(Array.from({ length: CLIENTS }, () => RawPeer.open(server.url)))
    const clients = [...server.clients.values()]
    const cost = await costOf(() => {
      for (const client of clients) {
        client.send('x'.repeat(100))
        others()
      }
      return clients
    })
    for (const peer of peers) peer.socket.destroy()
    // The objects of a frame and its buffer are not counted here.
    assert.ok(cost <= CLIENTS * 204 + 100_000, `${cost} bytes`)
  })

  it('that are pongs cost at most twice their bytes', async t => {
    const server = await serve(t, { filters: [], maxClients: CLIENTS, maxControl: 0, maxBuffered: 100_000_000 })
    const peers = await Promise.all(Array.from({ length: 50 }, () => RawPeer.open(server.url)))
    const clients = [...server.clients.values()]
    for (const peer of peers) peer.socket.pause()
    // More than the system takes, and one Buffer for all.
    server.broadcast(Buffer.alloc(20_000_000))
    await until(() => clients.every(({ buffered }) => buffered > 0))
    const before = await used()
    const pings = Array.from({ length: 20 }, (_, i) => clientFrame(PING, `${i}`.padEnd(100)))
    for (const ping of pings) {
      for (const peer of peers) peer.send(ping)
      others()
    }
    for (const peer of peers) peer.send(clientFrame(TEXT, 'after'))
    await until(() => server.counters.messages === peers.length)
    const cost = (await used()) - before
    for (const peer of peers) peer.socket.destroy()
    assert.ok(cost <= 50 * 2 * 2 * 102 + 100_000, `${cost} bytes`)
  })
})
