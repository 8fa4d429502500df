// RFC 6455, sections 5 and 7, and sections 1 to 5, 7 and 10 of the Autobahn test suite, against the built command.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  closeFrame,
  frame,
  handshake,
  PING,
  PONG,
  type RawPeer,
  TEXT,
} from '../support/frames.ts'
import { onEachServer } from './served.ts'

const MAX_PAYLOAD = 500_000
const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78])

const opcodes = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** The name, the bytes, and the expected close code. */
type Bad = readonly (readonly [what: string, bytes: Buffer, code: number])[]

const badHeaders: Bad = [
  ...[TEXT, BINARY, CLOSE, PING, PONG].map(
    opcode => [`a frame of opcode ${opcode} that is not masked`, frame(opcode, '', { masked: false }), 1002] as const,
  ),
  ['text that is not masked', frame(TEXT, 'x', { masked: false }), 1002],
  [
    'a continuation that is not masked',
    Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(CONTINUATION, 'y', { masked: false })]),
    1002,
  ],
  ...opcodes(1, 7).flatMap(rsv => [
    [`text with reserved bits ${rsv}`, frame(TEXT, 'x', { rsv }), 1002] as const,
    [`binary with reserved bits ${rsv}`, frame(BINARY, 'x', { rsv }), 1002] as const,
    [`a ping with reserved bits ${rsv}`, frame(PING, 'x', { rsv }), 1002] as const,
    [`a pong with reserved bits ${rsv}`, frame(PONG, 'x', { rsv }), 1002] as const,
    [`a Close with reserved bits ${rsv}`, frame(CLOSE, '', { rsv }), 1002] as const,
    [
      `a continuation with reserved bits ${rsv}`,
      Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(CONTINUATION, 'y', { rsv })]),
      1002,
    ] as const,
  ]),
  ...[...opcodes(3, 7), ...opcodes(11, 15)].flatMap(opcode => [
    [`opcode ${opcode}, empty`, frame(opcode), 1002] as const,
    [`opcode ${opcode} with a payload`, frame(opcode, 'x'), 1002] as const,
    [
      `opcode ${opcode} within a fragmented message`,
      Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(opcode, 'y')]),
      1002,
    ] as const,
  ]),
  ['a declared length with its highest bit set', frame(BINARY, '', { declared: 2 ** 63 }), 1009],
  ['a declared length beyond any limit', frame(BINARY, '', { declared: 2 ** 60 }), 1009],
  ['a declared length beyond max-payload', frame(BINARY, '', { declared: 2 ** 40 }), 1009],
  ['a message one byte beyond max-payload', frame(BINARY, Buffer.alloc(MAX_PAYLOAD + 1)), 1009],
  [
    'a message whose fragments together are beyond max-payload',
    Buffer.concat([
      frame(BINARY, Buffer.alloc(MAX_PAYLOAD), { fin: false }),
      frame(CONTINUATION, '', { fin: false }),
      frame(CONTINUATION, 'x'),
    ]),
    1009,
  ],
]

const badFragments: Bad = [
  ['a continuation of nothing', frame(CONTINUATION, 'x'), 1002],
  ['an empty continuation of nothing', frame(CONTINUATION), 1002],
  ['a first continuation that goes on', frame(CONTINUATION, 'x', { fin: false }), 1002],
  ['a message within a fragmented message', Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(TEXT, 'y')]), 1002],
  [
    'a fragmented message within a fragmented message',
    Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(BINARY, 'y', { fin: false })]),
    1002,
  ],
]

const badControls: Bad = [
  ...[CLOSE, PING, PONG].flatMap(opcode => [
    [`control frame ${opcode} in fragments`, frame(opcode, '', { fin: false }), 1002] as const,
    [`control frame ${opcode} longer than 125 bytes`, frame(opcode, Buffer.alloc(126, 0x03)), 1002] as const,
    [`control frame ${opcode} that declares 2^16 bytes`, frame(opcode, '', { declared: 65_536 }), 1002] as const,
    [
      `control frame ${opcode} with a length in two bytes`,
      Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | 126, 0, 0]), MASK]),
      1002,
    ] as const,
  ]),
  ['a Close of one byte', frame(CLOSE, 'x'), 1002],
  ['a Close with a reason of 124 bytes', closeFrame(1000, 'x'.repeat(124)), 1002],
  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
    code => [`a Close with code ${code}`, closeFrame(code), 1002] as const,
  ),
  ['a Close whose reason is no UTF-8', closeFrame(1000, Buffer.from([0xce, 0xba, 0xe1, 0xff])), 1007],
  ['a Close whose reason ends within a character', closeFrame(1000, Buffer.from([0xe2, 0x82])), 1007],
]

const goodCodes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]

onEachServer(['--max-payload', `${MAX_PAYLOAD}`], served => {
  for (const [what, bytes, code] of [...badHeaders, ...badFragments, ...badControls]) {
    it(`closes only that connection with ${code} on ${what}`, async () => {
      const bad = await served.open()
      bad.peer.send(frame(TEXT, 'one'), frame(BINARY, 'two'), bytes, frame(TEXT, 'after'))
      await bad.closedWith(code)
      // The earlier messages are valid.
      await bad.received('one', Buffer.from('two'))
    })
  }

  it('closes with the same codes when the bytes arrive one by one', async () => {
    const short = [...badHeaders, ...badFragments, ...badControls].filter(([, { length }]) => length < 200)
    await Promise.all(
      short.map(async ([, bytes, code]) => {
        const bad = await served.open()
        await bad.drip(bytes)
        await bad.closedWith(code)
      }),
    )
  })

  it('accepts a message in tiny fragments', async () => {
    const client = await served.open()
    const fragments = Array(5000).fill(frame(CONTINUATION, 'x', { fin: false }))
    client.peer.send(frame(TEXT, 'x', { fin: false }), ...fragments, frame(CONTINUATION, 'x'))
    await client.received('x'.repeat(5002))
  })

  it('accepts a frame in tiny reads', async () => {
    const client = await served.open()
    await client.drip(frame(BINARY, Buffer.alloc(3000, 7)))
    await client.received(Buffer.alloc(3000, 7))
  })

  for (const [what, bytes] of [
    ['pings', frame(PING, 'p')],
    ['pongs', frame(PONG, 'p')],
    ['empty fragments', frame(CONTINUATION, '', { fin: false })],
  ] as const) {
    it(`closes with 1008 on more than 200 ${what} in one write`, async () => {
      const flooding = await served.open()
      flooding.peer.send(frame(TEXT, 'begun', { fin: false }), ...Array(190).fill(bytes))
      await flooding.peer.roundTrip()
      flooding.peer.send(...Array(300).fill(bytes))
      assert.equal(await flooding.peer.end(), 1008)
      await flooding.leftWith(1008)
      await flooding.received()
    })
  }

  it('accepts a length that is not minimal: the rule binds the sender', async () => {
    const client = await served.open()
    const long = Buffer.concat([
      Buffer.from([0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2]),
      Buffer.alloc(4),
      Buffer.from('ab'),
    ])
    client.peer.send(long)
    await client.received('ab')
  })

  for (const cut of [false, true]) {
    it(`answers each ping with a pong of the same payload${cut ? ', byte by byte' : ''}`, async () => {
      const client = await served.open()
      const payloads = ['', 'hello', '\x00\xff\xfe\xfd', 'x'.repeat(125), ...opcodes(1, 10).map(n => `payload-${n}`)]
      const pings = Buffer.concat(payloads.map(payload => frame(PING, Buffer.from(payload, 'latin1'))))
      if (cut) await client.drip(pings)
      else client.peer.send(pings)
      const pongs = await client.peer.get(payloads.length)
      assert.deepEqual(
        pongs.map(({ opcode, payload }) => [opcode, payload.toString('latin1')]),
        payloads.map(payload => [PONG, payload]),
      )
    })
  }

  for (const payload of ['', 'unasked', 'x'.repeat(125)]) {
    it(`ignores an unsolicited pong of ${payload.length} bytes`, async () => {
      const { peer } = await served.open()
      peer.send(frame(PONG, payload))
      await peer.roundTrip()
      assert.equal(peer.frames.length, 1)
    })
  }

  it('joins a fragmented text, and answers pings between the fragments', async () => {
    const client = await served.open()
    // The split is inside the euro sign.
    client.peer.send(
      frame(TEXT, Buffer.from([0x61, 0xe2, 0x82]), { fin: false }),
      frame(PING, 'one'),
      frame(CONTINUATION, '', { fin: false }),
      frame(PONG, 'unasked'),
      frame(PING, 'two'),
      frame(CONTINUATION, Buffer.from([0xac, 0x62])),
    )
    const pongs = await client.peer.get(2)
    assert.deepEqual(
      pongs.map(({ opcode, payload }) => [opcode, String(payload)]),
      [
        [PONG, 'one'],
        [PONG, 'two'],
      ],
    )
    await client.received('a€b')
  })

  it('joins fragments that arrive in any pieces', async () => {
    const client = await served.open()
    await client.drip(
      Buffer.concat([
        ...['frag', 'ment', '', 'ed'].map((part, i) => frame(i === 0 ? TEXT : CONTINUATION, part, { fin: false })),
        frame(PING, 'p'),
        frame(CONTINUATION, '!'),
        frame(BINARY, Buffer.alloc(300, 7)),
      ]),
    )
    await client.received('fragmented!', Buffer.alloc(300, 7))
    assert.equal((await client.peer.get(1))[0]!.opcode, PONG)
  })

  it('accepts empty messages, text and binary, unfragmented and fragmented', async () => {
    const client = await served.open()
    for (const opcode of [TEXT, BINARY]) {
      client.peer.send(
        frame(opcode),
        frame(opcode, '', { fin: false }),
        frame(CONTINUATION),
        frame(opcode, '', { fin: false }),
        frame(CONTINUATION, '', { fin: false }),
        frame(CONTINUATION),
      )
    }
    const nothing = Buffer.alloc(0)
    await client.received('', '', '', nothing, nothing, nothing)
  })

  it('accepts a message of exactly max-payload', async () => {
    const client = await served.open()
    client.peer.send(frame(TEXT, 'x'.repeat(MAX_PAYLOAD)))
    await client.received('x'.repeat(MAX_PAYLOAD))
  })

  for (const [name, bytes, code] of [
    ...goodCodes.map(code => [`with code ${code}`, closeFrame(code), code] as const),
    ['with a code and a reason', closeFrame(4321, 'bye'), 4321],
    ['with a reason of 123 bytes', closeFrame(1000, 'x'.repeat(123)), 1000],
    ['with a reason in UTF-8', closeFrame(1000, 'tschüß €'), 1000],
    ['without a code', frame(CLOSE), 1005],
  ] as const) {
    it(`echoes a Close ${name}, then ends the connection`, async () => {
      const leaving = await served.open()
      leaving.peer.send(bytes)
      await leaving.closedWith(code)
      // RFC 6455, section 5.5.1: the code is echoed; the reason may be.
      const { payload } = leaving.peer.frames[0]!
      assert.deepEqual(frame(CLOSE, payload), bytes)
    })
  }

  it('handles messages before a Close frame, and none after it', async () => {
    const leaving = await served.open()
    leaving.peer.send(
      frame(TEXT, 'one'),
      frame(TEXT, 'two'),
      closeFrame(1000),
      frame(TEXT, 'after'),
      frame(PING, 'after'),
      closeFrame(1001),
      frame(3, 'bad'),
    )
    await leaving.closedWith(1000)
    await leaving.received('one', 'two')
  })

  it('discards an unfinished message when a Close frame arrives', async () => {
    const leaving = await served.open()
    leaving.peer.send(frame(TEXT, 'one', { fin: false }), closeFrame(1000), frame(CONTINUATION, 'two'))
    await leaving.closedWith(1000)
    await leaving.received()
  })

  for (const [how, leave] of [
    ['a reset', (peer: RawPeer) => peer.reset()],
    ['a FIN within a frame', (peer: RawPeer) => peer.socket.end(frame(TEXT, 'half').subarray(0, 7))],
    ['a FIN between frames', (peer: RawPeer) => peer.socket.end(frame(TEXT, 'whole'))],
  ] as const) {
    it(`survives ${how}, and reports 1006`, async () => {
      const leaving = await served.open()
      leave(leaving.peer)
      await leaving.leftWith(1006)
      await served.isWell()
    })
  }

  it('accepts no compressed frame, since it negotiates no extension', async () => {
    const client = await served.open({ 'Sec-WebSocket-Extensions': 'permessage-deflate' })
    assert.doesNotMatch(client.peer.head, /extensions/i)
    client.peer.send(frame(TEXT, 'x', { rsv: 4 }))
    await client.closedWith(1002)
  })

  it('treats a second handshake on an open connection as an invalid frame', async () => {
    const client = await served.open()
    client.peer.send(Buffer.from(handshake(served.url)))
    await client.closedWith(1002)
  })

  it('accepts frames in the same segment as the handshake', async () => {
    const client = await served.open({}, Buffer.concat([frame(TEXT, 'early'), frame(PING, 'p'), closeFrame(1000)]))
    await client.closedWith(1000, [PONG])
    await client.received('early')
  })
})
