// permessage-deflate: RFC 7692, sections 5 to 8, and sections 12 and 13 of the Autobahn test suite.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { it } from 'node:test'
import { constants, deflateRawSync } from 'node:zlib'
import { ask, BINARY, CLOSE, CONTINUATION, frame, handshake, PING, TEXT } from '../support/frames.ts'
import { onEachServer } from './served.ts'

const MAX_PAYLOAD = 1_048_576
const OFFER = { 'Sec-WebSocket-Extensions': 'permessage-deflate' }
/** The reserved bit of a compressed message. */
const RSV1 = 4
const SERVER = 'server_no_context_takeover'
const CLIENT = 'client_no_context_takeover'
const ACCEPTED = `permessage-deflate; ${SERVER}; ${CLIENT}`

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** A payload as a client compresses it (RFC 7692, section 7.2.1). */
function deflated(payload: string | Buffer, windowBits = 15): Buffer {
  return deflateRawSync(payload, { windowBits, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
}

const compressed = (opcode: number, payload: string | Buffer) => frame(opcode, deflated(payload), { rsv: RSV1 })

/** Offers and responses; `undefined`: no extension, since RFC 7692, section 7, declines invalid offers. */
const offers: readonly (readonly [offer: string, answer: string | undefined])[] = [
  ['', undefined],
  [',', undefined],
  ['permessage-deflate', ACCEPTED],
  [`permessage-deflate; ${SERVER}`, ACCEPTED],
  [`permessage-deflate; ${CLIENT}`, `permessage-deflate; ${CLIENT}; ${SERVER}`],
  ['permessage-deflate; client_max_window_bits', ACCEPTED],
  ...[8, 9, 12, 15].map(
    bits =>
      [
        `permessage-deflate; client_max_window_bits=${bits}`,
        `permessage-deflate; client_max_window_bits=${bits}; ${SERVER}; ${CLIENT}`,
      ] as const,
  ),
  ...[8, 9, 12, 15].map(
    bits =>
      [
        `permessage-deflate; server_max_window_bits=${bits}`,
        `permessage-deflate; server_max_window_bits=${bits}; ${SERVER}; ${CLIENT}`,
      ] as const,
  ),
  [
    'permessage-deflate; server_max_window_bits="10"',
    `permessage-deflate; server_max_window_bits=10; ${SERVER}; ${CLIENT}`,
  ],
  ['x-webkit-deflate-frame', undefined],
  ['x-webkit-deflate-frame, permessage-deflate', ACCEPTED],
  ['x-other; a="b"; c, permessage-deflate', ACCEPTED],
  ['permessage-deflate; strange', undefined],
  ['permessage-deflate; strange=1', undefined],
  ['permessage-deflate; strange, permessage-deflate', ACCEPTED],
  [`permessage-deflate; ${SERVER}=1`, undefined],
  [`permessage-deflate; ${CLIENT}=1`, undefined],
  [`permessage-deflate; ${SERVER}; ${SERVER}`, undefined],
  ['permessage-deflate; server_max_window_bits', undefined],
  ...['7', '16', '0', '-1', '010', '1e1', 'abc', '"7"'].flatMap(bits => [
    [`permessage-deflate; server_max_window_bits=${bits}`, undefined] as const,
    [`permessage-deflate; client_max_window_bits=${bits}`, undefined] as const,
  ]),
  ['permessage-deflate; server_max_window_bits=10; server_max_window_bits=10', undefined],
]

/** Headers that are not extension lists (RFC 6455, section 9.1). */
const malformed = [';', 'permessage-deflate;', 'permessage-deflate; a=', 'permessage-deflate; a="b', 'a b', '=']

const bad: readonly (readonly [what: string, bytes: Buffer, code: number])[] = [
  ['bytes that are no compressed data', frame(TEXT, hex('ffffffff'), { rsv: RSV1 }), 1007],
  ['a block of the reserved type', frame(TEXT, hex('06'), { rsv: RSV1 }), 1007],
  ['a stored block of two lengths', frame(TEXT, hex('000500ff00 48656c6c6f 00'), { rsv: RSV1 }), 1007],
  ['a reference before the beginning', frame(TEXT, hex('f200110000'), { rsv: RSV1 }), 1007],
  ['compressed text that is no UTF-8', compressed(TEXT, hex('ceba e1bd b9cf 83ce bcce b5ed a080')), 1007],
  [
    'a message that breaks in its second fragment',
    Buffer.concat([frame(TEXT, hex('f248cd'), { fin: false, rsv: RSV1 }), frame(CONTINUATION, hex('ffffff'))]),
    1007,
  ],
  ['a message that unfolds past max-payload', compressed(BINARY, Buffer.alloc(MAX_PAYLOAD + 1)), 1009],
  [
    'a continuation that says compressed once more',
    Buffer.concat([
      frame(TEXT, hex('f248cd'), { fin: false, rsv: RSV1 }),
      frame(CONTINUATION, hex('c9c90700'), { rsv: RSV1 }),
    ]),
    1002,
  ],
  [
    'a continuation that says compressed behind a plain fragment',
    Buffer.concat([frame(TEXT, 'x', { fin: false }), frame(CONTINUATION, hex('c9c90700'), { rsv: RSV1 })]),
    1002,
  ],
  ['a compressed ping', frame(PING, deflated('x'), { rsv: RSV1 }), 1002],
  ['a compressed Close', frame(CLOSE, deflated('x'), { rsv: RSV1 }), 1002],
  ...[1, 2, 3, 5, 6, 7].map(rsv => [`reserved bits ${rsv}`, frame(TEXT, deflated('x'), { rsv }), 1002] as const),
]

onEachServer(['--compress', '--max-payload', `${MAX_PAYLOAD}`], served => {
  const answerTo = async (offer: string) =>
    ask(served.url, handshake(served.url, { 'Sec-WebSocket-Extensions': offer }))

  for (const [offer, expected] of offers) {
    it(`answers "${offer}" with ${expected ?? 'no extension'}`, async () => {
      const { status, headers } = await answerTo(offer)
      assert.deepEqual([status, headers['sec-websocket-extensions']], [101, expected])
    })
  }

  for (const header of malformed) {
    it(`refuses the extensions "${header}" with 400`, async () => assert.equal((await answerTo(header)).status, 400))
  }

  it('accepts the examples of RFC 7692', async () => {
    const client = await served.open(OFFER)
    client.peer.send(
      frame(TEXT, hex('f248cdc9c90700'), { rsv: RSV1 }),
      frame(TEXT, hex('f248cd'), { rsv: RSV1, fin: false }),
      frame(CONTINUATION, hex('c9c90700')),
      // A stored block, a final block, two blocks in one message.
      frame(TEXT, hex('000500faff48656c6c6f00'), { rsv: RSV1 }),
      frame(TEXT, hex('f348cdc9c9070000'), { rsv: RSV1 }),
      frame(TEXT, hex('f24805000000ffffcac9c90700'), { rsv: RSV1 }),
      // A message need not be compressed.
      frame(TEXT, 'Hello'),
      frame(TEXT, hex('00'), { rsv: RSV1 }),
    )
    await client.received('Hello', 'Hello', 'Hello', 'Hello', 'Hello', 'Hello', '')
  })

  for (const size of [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072, MAX_PAYLOAD - 1024]) {
    it(`accepts messages of ${size} bytes, compressible or not, unfragmented and fragmented`, async () => {
      const client = await served.open(OFFER)
      const text = 'ünï, '.repeat(size).slice(0, size / 2)
      // Incompressible data grows a little: max-payload applies to the frame and to the inflated message.
      const noise = randomBytes(size)
      for (const [opcode, payload] of [
        [TEXT, text],
        [BINARY, noise],
      ] as const) {
        const bytes = deflated(payload)
        const half = bytes.length >> 1
        client.peer.send(
          frame(opcode, bytes, { rsv: RSV1 }),
          frame(opcode, bytes.subarray(0, half), { rsv: RSV1, fin: false }),
          frame(PING, 'p'),
          frame(CONTINUATION, bytes.subarray(half)),
        )
      }
      await client.received(text, text, noise, noise)
    })
  }

  for (const bits of [9, 12, 15]) {
    it(`accepts a message compressed with a window of 2^${bits}`, async () => {
      const client = await served.open({
        'Sec-WebSocket-Extensions': `permessage-deflate; client_max_window_bits=${bits}`,
      })
      const text = `far ${'x'.repeat(60_000)} far`
      client.peer.send(frame(TEXT, deflated(text, bits), { rsv: RSV1 }))
      await client.received(text)
    })
  }

  it('accepts 200 messages, compressed or not, in order', async () => {
    const client = await served.open(OFFER)
    const texts = Array.from({ length: 200 }, (_, i) => `${i} `.repeat(i))
    client.peer.send(...texts.map((text, i) => (i % 3 === 0 ? frame(TEXT, text) : compressed(TEXT, text))))
    await client.received(...texts)
  })

  for (const [what, bytes, code] of bad) {
    it(`closes only that connection with ${code} on ${what}`, async () => {
      const client = await served.open(OFFER)
      client.peer.send(compressed(TEXT, 'one'), bytes, frame(TEXT, 'after'))
      await client.closedWith(code)
      await client.received('one')
    })
  }

  it('closes with 1002 on a compressed frame of a client that did not negotiate compression', async () => {
    const client = await served.open()
    client.peer.send(compressed(TEXT, 'x'))
    await client.closedWith(1002)
  })
})
