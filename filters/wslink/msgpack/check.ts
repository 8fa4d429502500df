import { MAX_JSON_DEPTH } from 'filtered-websocket/kit'
import { malformed, oversize } from '../protocol-error.ts'

/** Values in a message, as in JSON. An empty map has one byte encoded, and sixty decoded. */
const MAX_VALUES = 100_000

const [BIN_8, BIN_32] = [0xc4, 0xc6]
const TRUNCATED = 'truncated msgpack'

/**
 * Checks a message before decoding: the decoder allocates the announced number of elements, and a few bytes can announce
 * billions.
 *
 * @param maxBytes - maximum bytes of all values except byte arrays, which are not copied.
 * @throws ProtocolError
 */
export function checkMsgpack(bytes: Buffer, maxBytes: number): void {
  /** Missing values of each open container, and their total. */
  const open = [1]
  let missing = 1
  let values = 0
  let at = 0
  let plain = 0
  while (missing > 0) {
    if (at >= bytes.length) throw malformed(TRUNCATED)
    const { skip, holds } = headerAt(bytes, at)
    const first = bytes[at]!
    if (first < BIN_8 || first > BIN_32) plain += skip
    if (plain > maxBytes) throw oversize(`msgpack of more than ${maxBytes} bytes besides byte arrays`)
    at += skip
    missing += holds - 1
    if (missing > bytes.length - at) throw malformed(TRUNCATED)
    if (++values + missing > MAX_VALUES) throw oversize(`msgpack of more than ${MAX_VALUES} values`)
    open[open.length - 1]!--
    if (holds > 0 && open.push(holds) > MAX_JSON_DEPTH + 1)
      throw oversize(`msgpack nested deeper than ${MAX_JSON_DEPTH}`)
    while (open.at(-1) === 0) open.pop()
  }
  if (at < bytes.length) throw malformed(`msgpack with ${bytes.length - at} extra bytes`)
}

interface Value {
  /** Bytes without those of contained values. */
  readonly skip: number
  /** Number of contained values. */
  readonly holds: number
}

/** Reads the header of a value by its first byte (msgpack specification, formats). */
function headerAt(bytes: Buffer, at: number): Value {
  const first = bytes[at]!
  if (first < 0x80 || first >= 0xe0) return flat(1)
  if (first < 0x90) return { skip: 1, holds: 2 * (first & 0x0f) }
  if (first < 0xa0) return { skip: 1, holds: first & 0x0f }
  if (first < 0xc0) return flat(1 + (first & 0x1f))
  switch (first) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return flat(1)
    case 0xc4:
    case 0xd9:
      return flat(2 + lengthAt(bytes, at, 1))
    case 0xc5:
    case 0xda:
      return flat(3 + lengthAt(bytes, at, 2))
    case 0xc6:
    case 0xdb:
      return flat(5 + lengthAt(bytes, at, 4))
    case 0xc7:
      return flat(3 + lengthAt(bytes, at, 1))
    case 0xc8:
      return flat(4 + lengthAt(bytes, at, 2))
    case 0xc9:
      return flat(6 + lengthAt(bytes, at, 4))
    case 0xca:
    case 0xce:
    case 0xd2:
      return flat(5)
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return flat(9)
    case 0xcc:
    case 0xd0:
      return flat(2)
    case 0xcd:
    case 0xd1:
      return flat(3)
    case 0xdc:
      return { skip: 3, holds: lengthAt(bytes, at, 2) }
    case 0xdd:
      return { skip: 5, holds: lengthAt(bytes, at, 4) }
    case 0xde:
      return { skip: 3, holds: 2 * lengthAt(bytes, at, 2) }
    case 0xdf:
      return { skip: 5, holds: 2 * lengthAt(bytes, at, 4) }
    case 0xc1:
      throw malformed('msgpack with the invalid byte c1')
    default:
      // fixext of 1, 2, 4, 8 or 16 bytes.
      return flat(2 + 2 ** (first - 0xd4))
  }
}

function flat(skip: number): Value {
  return { skip, holds: 0 }
}

/** The big-endian number of `size` bytes after the first byte. */
function lengthAt(bytes: Buffer, at: number, size: number): number {
  if (at + 1 + size > bytes.length) throw malformed(TRUNCATED)
  return bytes.readUIntBE(at + 1, size)
}
