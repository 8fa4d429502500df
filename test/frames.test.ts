import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Payload, RunningServer, ServerOptions } from '../src/index.ts'
import { BINARY, CLOSE, CONTINUATION, closeFrame, frame, handshake, PING, PONG, RawPeer, TEXT } from './kit/frames.ts'
import { serve, until } from './kit/peer.ts'

const MAX_PAYLOAD = 1000

interface Setup {
  readonly name: string
  /** Keeps what its message filter gets, where it has one. */
  filters(seen: Payload[]): NonNullable<ServerOptions['filters']>
}

// What stands between the socket and the filters differs in each.
const setups: readonly Setup[] = [
  { name: 'with an empty chain', filters: () => [] },
  {
    name: 'behind a data filter',
    filters: seen => [{ data: () => {}, message: payload => void seen.push(payload) }],
  },
  {
    name: 'before a slow message filter',
    filters: seen => [
      {
        message: async payload => {
          await sleep(3)
          seen.push(payload)
        },
      },
    ],
  },
]

const bad: readonly (readonly [what: string, bytes: Buffer, code: number])[] = [
  ['a frame that is not masked', frame(TEXT, 'x', { masked: false }), 1002],
  ['a frame with RSV1 set', frame(TEXT, 'x', { rsv: 4 }), 1002],
  ['a frame with RSV2 set', frame(TEXT, 'x', { rsv: 2 }), 1002],
  ['a frame with RSV3 set', frame(TEXT, 'x', { rsv: 1 }), 1002],
  ['an unknown data opcode', frame(3, 'x'), 1002],
  ['an unknown control opcode', frame(11, 'x'), 1002],
  ['text that is no UTF-8', frame(TEXT, Buffer.from([0x61, 0xff])), 1007],
  ['text that ends within a character', frame(TEXT, Buffer.from([0xe2, 0x82])), 1007],
  [
    'text that is no UTF-8 once its fragments are joined',
    Buffer.concat([frame(TEXT, Buffer.from([0xe2, 0x82]), { fin: false }), frame(CONTINUATION, Buffer.from([0x28]))]),
    1007,
  ],
  ['a message beyond max-payload', frame(BINARY, Buffer.alloc(MAX_PAYLOAD + 1)), 1009],
  ['the mere claim of a message beyond max-payload', frame(BINARY, '', { claims: 2 ** 40 }), 1009],
  ['the claim of a message beyond any number', frame(BINARY, '', { claims: 2 ** 60 }), 1009],
  [
    'a message whose fragments together are beyond max-payload',
    Buffer.concat([
      frame(BINARY, Buffer.alloc(MAX_PAYLOAD), { fin: false }),
      frame(CONTINUATION, '', { fin: false }),
      frame(CONTINUATION, 'x'),
    ]),
    1009,
  ],
  ['a fragmented ping', frame(PING, 'x', { fin: false }), 1002],
  ['a fragmented Close', frame(CLOSE, Buffer.from([0x03, 0xe8]), { fin: false }), 1002],
  ['a ping longer than 125 bytes', frame(PING, Buffer.alloc(126)), 1002],
  ['a Close longer than 125 bytes', closeFrame(1000, 'x'.repeat(124)), 1002],
  ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002],
  ['a message within a fragmented message', Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(TEXT, 'y')]), 1002],
  ['a Close with code 1005', closeFrame(1005), 1002],
  ['a Close with code 1006', closeFrame(1006), 1002],
  ['a Close with code 999', closeFrame(999), 1002],
  ['a Close with code 2000', closeFrame(2000), 1002],
  ['a Close with code 5000', closeFrame(5000), 1002],
  ['a Close with one byte', frame(CLOSE, 'x'), 1002],
  ['a Close whose reason is no UTF-8', closeFrame(1000, Buffer.from([0xff])), 1007],
]

/** A server, a peer that misbehaves and one that must not notice. */
async function start(t: TestContext, { filters }: Setup) {
  const seen: Payload[] = []
  const server = await serve(t, { filters: filters(seen), maxPayload: MAX_PAYLOAD, drain: 0 })
  const witness = await RawPeer.open(server.url)
  const peer = await RawPeer.open(server.url)
  return { server, witness, peer, seen }
}

/** All messages have been received, and worked on where there is a filter for them. */
async function received(server: RunningServer, seen: readonly Payload[], setup: Setup, expected: readonly Payload[]) {
  await until(() => server.counters.messages === expected.length, `${expected.length} messages`)
  if (setup !== setups[0]) {
    await until(() => seen.length === expected.length)
    assert.deepEqual(seen, expected)
  }
}

for (const setup of setups) {
  describe(`a server ${setup.name}`, () => {
    for (const [what, bytes, code] of bad) {
      it(`closes with ${code} on ${what}, and that connection only`, async t => {
        const { server, witness, peer, seen } = await start(t, setup)
        peer.send(frame(TEXT, 'one'), frame(BINARY, 'two'), bytes, frame(TEXT, 'after'))
        assert.equal(await peer.end(), code)
        assert.deepEqual(
          peer.frames.map(({ opcode }) => opcode),
          [CLOSE],
        )
        await until(() => server.counters.closed === 1)
        assert.deepEqual({ ...server.counters.closes }, { [code]: 1 })
        // What came before was good.
        await received(server, seen, setup, ['one', Buffer.from('two')])
        await witness.roundTrip()
        assert.equal(server.counters.errors, 0)
      })
    }

    for (const [size, byte] of [
      ['tiny', 'x'],
      ['empty', ''],
    ] as const) {
      it(`closes with 1008 on a message of endless ${size} fragments`, async t => {
        const seen: Payload[] = []
        const server = await serve(t, { filters: setup.filters(seen), drain: 0 })
        const witness = await RawPeer.open(server.url)
        const peer = await RawPeer.open(server.url)
        const fragments = Buffer.concat(Array(1000).fill(frame(CONTINUATION, byte, { fin: false })))
        peer.send(frame(TEXT, byte, { fin: false }))
        let sent = 0
        while (!peer.isClosed && sent < 1_000_000) {
          await new Promise(resolve => peer.socket.write(fragments, resolve))
          sent += 1000
          await witness.roundTrip()
        }
        assert.equal(await peer.end(), 1008)
        assert.ok(sent <= 3000, `${sent} fragments were taken`)
        assert.equal(server.counters.messages, 0)
      })
    }

    it('closes with 1008 on a message that comes in crumbs', async t => {
      const server = await serve(t, { filters: setup.filters([]), maxPayload: MAX_PAYLOAD * 10, drain: 0 })
      const witness = await RawPeer.open(server.url)
      const peer = await RawPeer.open(server.url)
      const crumbs = frame(BINARY, Buffer.alloc(MAX_PAYLOAD * 10))
      let sent = 0
      while (!peer.isClosed && sent < crumbs.length) {
        const crumb = crumbs.subarray(sent, ++sent)
        await new Promise(resolve => peer.socket.write(crumb, resolve))
        // Else the next would come with it.
        await new Promise(resolve => setImmediate(resolve))
      }
      assert.equal(await peer.end(), 1008)
      assert.ok(sent > 1000, `${sent} bytes were taken`)
      assert.equal(server.counters.messages, 0)
      await witness.roundTrip()
    })

    it('answers a ping with a pong of the same payload', async t => {
      const { peer } = await start(t, setup)
      for (const payload of ['', 'hello', '\x00\x01', 'x'.repeat(125)]) peer.send(frame(PING, payload))
      const pongs = await peer.get(4)
      assert.deepEqual(
        pongs.map(({ opcode, payload }) => [opcode, String(payload)]),
        ['', 'hello', '\x00\x01', 'x'.repeat(125)].map(payload => [PONG, payload]),
      )
    })

    it('takes no notice of a pong that it did not ask for', async t => {
      const { peer } = await start(t, setup)
      peer.send(frame(PONG, 'unasked'))
      await peer.roundTrip()
      assert.equal(peer.frames.length, 1)
    })

    it('joins a fragmented text, with a ping answered in between', async t => {
      const { server, peer, seen } = await start(t, setup)
      // The euro sign is cut in two.
      peer.send(
        frame(TEXT, Buffer.from([0x61, 0xe2, 0x82]), { fin: false }),
        frame(PING, 'between'),
        frame(CONTINUATION, '', { fin: false }),
        frame(CONTINUATION, Buffer.from([0xac, 0x62])),
      )
      const [pong] = await peer.get(1)
      assert.deepEqual([pong!.opcode, String(pong!.payload)], [PONG, 'between'])
      await received(server, seen, setup, ['a€b'])
    })

    it('takes empty messages, text and binary, whole and in fragments', async t => {
      const { server, peer, seen } = await start(t, setup)
      peer.send(
        frame(TEXT),
        frame(BINARY),
        frame(TEXT, '', { fin: false }),
        frame(CONTINUATION),
        frame(BINARY, '', { fin: false }),
        frame(CONTINUATION),
      )
      await received(server, seen, setup, ['', Buffer.alloc(0), '', Buffer.alloc(0)])
    })

    it('takes a message of exactly max-payload', async t => {
      const { server, peer, seen } = await start(t, setup)
      peer.send(frame(TEXT, 'x'.repeat(MAX_PAYLOAD)))
      await received(server, seen, setup, ['x'.repeat(MAX_PAYLOAD)])
    })

    it('takes frames however the network cuts them', async t => {
      const { server, peer, seen } = await start(t, setup)
      const bytes = Buffer.concat([frame(TEXT, 'häppchen'), frame(PING, 'p'), frame(BINARY, Buffer.alloc(300, 7))])
      for (const byte of bytes) await new Promise(resolve => peer.socket.write(Buffer.from([byte]), resolve))
      await received(server, seen, setup, ['häppchen', Buffer.alloc(300, 7)])
      assert.equal((await peer.get(1))[0]!.opcode, PONG)
    })

    for (const [name, bytes, echoed, code] of [
      ['with a code and a reason', closeFrame(4321, 'bye'), Buffer.from('\x10\xe1bye', 'latin1'), 4321],
      ['with code 1000', closeFrame(1000), Buffer.from([0x03, 0xe8]), 1000],
      ['without a code', frame(CLOSE), Buffer.alloc(0), 1005],
    ] as const) {
      it(`echoes a Close ${name}, then ends the connection`, async t => {
        const { server, witness, peer } = await start(t, setup)
        peer.send(bytes)
        await peer.end()
        assert.deepEqual(
          peer.frames.map(({ opcode, payload }) => [opcode, payload]),
          [[CLOSE, echoed]],
        )
        await until(() => server.counters.closed === 1)
        assert.deepEqual({ ...server.counters.closes }, { [code]: 1 })
        await witness.roundTrip()
      })
    }

    it('works on what came before a Close, and on nothing behind it', async t => {
      const { server, peer, seen } = await start(t, setup)
      peer.send(frame(TEXT, 'one'), frame(TEXT, 'two'), closeFrame(1000), frame(TEXT, 'after'))
      assert.equal(await peer.end(), 1000)
      await received(server, seen, setup, ['one', 'two'])
    })

    for (const [how, leave] of [
      ['a reset', (peer: RawPeer) => peer.reset()],
      ['a FIN within a frame', (peer: RawPeer) => peer.socket.end(frame(TEXT, 'half').subarray(0, 7))],
    ] as const) {
      it(`survives ${how}, and counts it as 1006`, async t => {
        const { server, witness, peer } = await start(t, setup)
        leave(peer)
        await until(() => server.counters.closed === 1)
        assert.deepEqual({ ...server.counters.closes }, { 1006: 1 })
        await witness.roundTrip()
      })
    }

    it('cuts off a peer that pings without end and never reads its pongs', async t => {
      const { server, witness, peer } = await start(t, setup)
      peer.socket.pause()
      const pings = Buffer.concat(Array(500).fill(frame(PING, Buffer.alloc(125))))
      while (server.counters.closed === 0) {
        if (peer.socket.destroyed) break
        if (!peer.socket.writableNeedDrain) peer.socket.write(pings)
        await witness.roundTrip()
      }
      await until(() => server.counters.closed === 1)
      assert.deepEqual({ ...server.counters.closes }, { 1006: 1 })
      peer.socket.destroy()
    })

    it('accepts no compressed frame: it agrees to no extension', async t => {
      const { server } = await start(t, setup)
      const peer = await RawPeer.open(server.url, { 'Sec-WebSocket-Extensions': 'permessage-deflate' })
      assert.doesNotMatch(peer.head, /extensions/i)
      peer.send(frame(TEXT, 'x', { rsv: 4 }))
      assert.equal(await peer.end(), 1002)
    })

    it('takes a second handshake on an open connection for the bad frame that it is', async t => {
      const { server, peer } = await start(t, setup)
      peer.send(Buffer.from(handshake(server.url)))
      assert.equal(await peer.end(), 1002)
    })
  })
}
