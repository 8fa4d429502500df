import { DecodeError, decode, Encoder, ExtData, ExtensionCodec } from '@msgpack/msgpack'
import { MAX_JSON_LENGTH } from 'filtered-websocket/kit'
import { bytesOf } from '../bytes.ts'
import { malformed } from '../fatal.ts'
import { checkMsgpack } from './check.ts'

/** Bytes from here on are not copied into the message, but stay a part of it. */
const APART_FROM = 4096
/** Bytes of memory that are kept for the next message. */
const KEPT = 16_384
/** What the encoder writes for something empty of an extension type whose place it tells. */
const MARK_BYTES = 6

/** Something that stands in a message at a mark. */
interface Apart {
  /** Where the mark begins. */
  readonly at: number
  readonly parts: readonly Uint8Array[]
}

/** Writes one message after the other into the same memory. */
export class Packer {
  #extensions = new Extensions()
  #encoder = new Encoder({ extensionCodec: this.#extensions })

  /**
   * A value as msgpack (wslink, section 2.2), in parts: large byte arrays are parts of their own, and not copied. Bytes of
   * every kind become `bin`, a BigInt a 64-bit integer, a Date a timestamp.
   *
   * @throws for functions, symbols, what is nested deeper than 100, and a key `__proto__`, at which the official clients do.
   */
  pack(value: unknown): readonly Uint8Array[] {
    const extensions = this.#extensions
    extensions.apart.length = 0
    const bytes = this.#own(this.#encoder.encodeSharedRef(value))
    if (extensions.apart.length === 0) return [bytes]
    const parts: Uint8Array[] = []
    let from = 0
    for (const { at, parts: apart } of extensions.apart) {
      parts.push(bytes.subarray(from, at), ...apart)
      from = at + MARK_BYTES
    }
    if (from < bytes.length) parts.push(bytes.subarray(from))
    return parts
  }

  /** What the next message does not write over; after a large one, memory of its own is not kept. */
  #own(bytes: Uint8Array): Uint8Array {
    if (bytes.length <= KEPT) return Buffer.from(bytes)
    this.#extensions = new Extensions()
    this.#encoder = new Encoder({ extensionCodec: this.#extensions })
    return bytes
  }
}

/** The same once. */
export function pack(value: unknown): readonly Uint8Array[] {
  return new Packer().pack(value)
}

/**
 * What a client's message says; its byte arrays are windows on it.
 *
 * @param maxBytes - of all values but byte arrays.
 * @throws Fatal
 */
export function unpack(message: Buffer, maxBytes = MAX_JSON_LENGTH): unknown {
  checkMsgpack(message, maxBytes)
  try {
    return decode(message)
  } catch (error) {
    // A map with such keys, or a timestamp that is none; all else has been checked.
    if (error instanceof DecodeError) throw malformed(`msgpack: ${error.message}`)
    throw error
  }
}

/** The same of what this server has packed. */
export function unpackOwn(message: Buffer): unknown {
  return decode(message)
}

/**
 * Is asked by the encoder what to do with everything that is no plain value. Where something is to stand apart, it has
 * an empty extension written as a mark, and remembers where.
 */
class Extensions {
  readonly apart: Apart[] = []

  tryToEncode(value: unknown): ExtData | null {
    if (typeof value === 'bigint') return this.#mark([integer(value)])
    const bytes = bytesOf(value)
    // The encoder takes an ArrayBuffer for a map.
    if (bytes !== undefined && (bytes.length >= APART_FROM || !ArrayBuffer.isView(value)))
      return this.#mark([binHead(bytes.length), bytes])
    if (Object.hasOwn(value as object, '__proto__')) throw new TypeError('a map with a key __proto__')
    return ExtensionCodec.defaultCodec.tryToEncode(value, undefined)
  }

  /** Never asked by an encoder. */
  decode(): never {
    throw new Error('an encoder decodes nothing')
  }

  #mark(parts: readonly Uint8Array[]): ExtData {
    return new ExtData(0, end => {
      this.apart.push({ at: end - MARK_BYTES, parts })
      return new Uint8Array(0)
    })
  }
}

/** The smallest head of so many bytes. */
function binHead(length: number): Buffer {
  if (length < 0x100) return Buffer.from([0xc4, length])
  const head = Buffer.allocUnsafe(length < 0x1_0000 ? 3 : 5)
  head[0] = length < 0x1_0000 ? 0xc5 : 0xc6
  head.writeUIntBE(length, 1, head.length - 1)
  return head
}

/** @throws RangeError for what has no place in 64 bits. */
function integer(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(9)
  bytes[0] = value < 0n ? 0xd3 : 0xcf
  if (value < 0n) bytes.writeBigInt64BE(value, 1)
  else bytes.writeBigUInt64BE(value, 1)
  return bytes
}
