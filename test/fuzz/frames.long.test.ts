// Random frames against the built command. jazzer.js cannot guide them, since the server runs in its own process.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { constants, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { BINARY, CLOSE, CONTINUATION, frame, PING, PONG, TEXT } from '../support/frames.ts'
import { type Conversation, fuzzConnections, goodHandshake } from './connections.ts'
import { mutated } from './mutations.ts'
import { kept } from './seed.ts'

const COUNT = 10_000
/** Average frames per conversation. */
const FRAMES = 4
/** Bytes of a client that then stays silent: the server sends them back, and must still end it in time. */
const MAX_SILENT = 10_000
const OFFER = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }
const CLOSE_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]

const small = fc.oneof(
  fc.constantFrom('', 'x', 'häppchen', '\0').map(text => Buffer.from(text)),
  fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes)),
  fc.constantFrom(125, 126, 127).map(size => Buffer.alloc(size, 'ä')),
  fc.tuple(fc.nat(65_535), fc.string({ maxLength: 10 })).map(([code, reason]) => closing(code, reason)),
)

const deflated = fc.oneof(
  fc
    .string({ maxLength: 100 })
    .map(text => deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)),
  // The larger one is a decompression bomb.
  fc.constantFrom(deflateRawSync(Buffer.alloc(2000)), deflateRawSync(Buffer.alloc(2_000_000))),
)

const large = fc.constantFrom(65_535, 65_536, 99_999, 100_000, 100_001).map(size => Buffer.alloc(size, 'ä'))

const payload = fc.oneof(
  { weight: 40, arbitrary: small },
  { weight: 10, arbitrary: deflated },
  { weight: 1, arbitrary: large },
)

const oneFrame = fc
  .record({
    opcode: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE) },
      { weight: 1, arbitrary: fc.nat(15) },
    ),
    payload,
    fin: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    rsv: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 2, arbitrary: fc.constant(4) },
      { weight: 1, arbitrary: fc.nat(7) },
    ),
    masked: fc.oneof({ weight: 20, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    declared: fc.oneof(
      { weight: 20, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(0, 1, 125, 126, 65_536, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63) },
    ),
  })
  .map(({ opcode, payload: data, declared, ...shape }) =>
    frame(opcode, data, declared === undefined ? shape : { ...shape, declared }),
  )

const conversations: fc.Arbitrary<Conversation> = fc
  .tuple(
    fc.array(mutated(oneFrame), { minLength: 1, maxLength: 2 * FRAMES - 1 }),
    fc.boolean(),
    fc.constantFrom('together', 'frame by frame', 'byte by byte'),
    fc.nat(199),
  )
  .map(([frames, offers, how, delay]) => {
    const first = goodHandshake(offers ? OFFER : {})
    const bytes = Buffer.concat(frames)
    // The heartbeat gives a silent client a second for each 4 KiB that it was sent.
    const ends = delay > 0 || bytes.length > MAX_SILENT
    if (how === 'together') return { writes: [Buffer.concat([first, bytes])], ends }
    if (how === 'frame by frame' || bytes.length > 100) return { writes: [first, ...frames], ends }
    return { writes: [first, ...[...bytes].map(byte => Buffer.from([byte]))], ends }
  })

function closing(code: number, reason: string): Buffer {
  const bytes = Buffer.from(`..${reason}`)
  bytes.writeUInt16BE(code)
  return bytes
}

/** Bytes that a server may write: an accepted handshake, complete unmasked frames, nothing after a Close frame. */
function check(answer: Buffer): void {
  let at = answer.indexOf('\r\n\r\n') + 4
  assert.match(answer.toString('latin1', 0, at), /^HTTP\/1\.1 101 /)
  let last = 0
  while (at + 2 <= answer.length) {
    assert.notEqual(last, CLOSE, 'a frame behind a Close')
    last = answer[at]! & 0x0f
    const short = answer[at + 1]!
    assert.ok(short < 0x80, 'a mask')
    const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
    const length = short < 126 ? short : short === 126 ? answer.readUInt16BE(at + 2) : answer.readUInt32BE(at + 6)
    if (last === CLOSE && length > 0) {
      const code = answer.readUInt16BE(start)
      assert.ok(CLOSE_CODES.includes(code) || (code >= 3000 && code < 5000), `a Close with ${code}`)
    }
    at = start + length
  }
}

it(`${COUNT * FRAMES} random frames are answered according to RFC 6455 or disconnected, and leak nothing`, {
  timeout: 280_000,
}, async t => {
  await fuzzConnections(t, { conversations, count: COUNT, kept: kept('frames'), check })
})
