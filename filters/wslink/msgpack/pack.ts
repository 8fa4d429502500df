import { DecodeError, decode, Encoder, ExtData, ExtensionCodec } from '@msgpack/msgpack'
import { MAX_JSON_LENGTH } from 'filtered-websocket/kit'
import { bytesOf } from '../bytes.ts'
import { malformed } from '../protocol-error.ts'
import { checkMsgpack } from './check.ts'

/** Minimum size of byte arrays that are not copied into the message. */
const UNCOPIED_FROM = 4096
/** Maximum bytes of the buffer that is reused for the next message. */
const REUSED = 16_384
/** Size of an empty extension as written by the encoder. */
const MARK_BYTES = 6

/** Parts that replace a mark in the message. */
interface Insertion {
  /** Offset of the mark. */
  readonly at: number
  readonly parts: readonly Uint8Array[]
}

/** Encodes messages and reuses its buffer. */
export class Packer {
  #extensions = new Extensions()
  #encoder = new Encoder({ extensionCodec: this.#extensions })

  /**
   * Encodes a value as msgpack (wslink, section 2.2), in parts: large byte arrays are separate parts and not copied. Bytes of
   * any kind become `bin`, a BigInt a 64-bit integer, a Date a timestamp.
   *
   * @throws for functions, symbols, more than 100 levels, and a key `__proto__`, at which official clients throw.
   */
  pack(value: unknown): readonly Uint8Array[] {
    const extensions = this.#extensions
    extensions.insertions.length = 0
    const bytes = this.#own(this.#encoder.encodeSharedRef(value))
    if (extensions.insertions.length === 0) return [bytes]
    const parts: Uint8Array[] = []
    let from = 0
    for (const { at, parts: inserted } of extensions.insertions) {
      parts.push(bytes.subarray(from, at), ...inserted)
      from = at + MARK_BYTES
    }
    if (from < bytes.length) parts.push(bytes.subarray(from))
    return parts
  }

  /** Returns bytes that the next message does not overwrite: a copy, or the buffer itself if it is large. */
  #own(bytes: Uint8Array): Uint8Array {
    if (bytes.length <= REUSED) return Buffer.from(bytes)
    this.#extensions = new Extensions()
    this.#encoder = new Encoder({ extensionCodec: this.#extensions })
    return bytes
  }
}

/** Encodes one value; see `Packer.pack`. */
export function pack(value: unknown): readonly Uint8Array[] {
  return new Packer().pack(value)
}

/**
 * Decodes a client's message. Byte arrays share its memory.
 *
 * @param maxBytes - maximum bytes of all values except byte arrays.
 * @throws ProtocolError
 */
export function unpack(message: Buffer, maxBytes = MAX_JSON_LENGTH): unknown {
  checkMsgpack(message, maxBytes)
  try {
    return decode(message)
  } catch (error) {
    // An invalid map key or timestamp; the rest has been checked.
    if (error instanceof DecodeError) throw malformed(`msgpack: ${error.message}`)
    throw error
  }
}

/** Decodes a message that this server packed, without checks. */
export function unpackOwn(message: Buffer): unknown {
  return decode(message)
}

/**
 * Encodes values that are not plain. For bytes that are not copied it writes an empty extension as mark, and records its
 * offset.
 */
class Extensions {
  readonly insertions: Insertion[] = []

  tryToEncode(value: unknown): ExtData | null {
    if (typeof value === 'bigint') return this.#mark([integer(value)])
    const bytes = bytesOf(value)
    // The encoder would write an ArrayBuffer as a map.
    if (bytes !== undefined && (bytes.length >= UNCOPIED_FROM || !ArrayBuffer.isView(value)))
      return this.#mark([binHeader(bytes.length), bytes])
    if (Object.hasOwn(value as object, '__proto__')) throw new TypeError('a map with a key __proto__')
    return ExtensionCodec.defaultCodec.tryToEncode(value, undefined)
  }

  /** Encoders never call it. */
  decode(): never {
    throw new Error('an encoder does not decode')
  }

  #mark(parts: readonly Uint8Array[]): ExtData {
    return new ExtData(0, end => {
      this.insertions.push({ at: end - MARK_BYTES, parts })
      return new Uint8Array(0)
    })
  }
}

/** The smallest header for this many bytes. */
function binHeader(length: number): Buffer {
  if (length < 0x100) return Buffer.from([0xc4, length])
  const head = Buffer.allocUnsafe(length < 0x1_0000 ? 3 : 5)
  head[0] = length < 0x1_0000 ? 0xc5 : 0xc6
  head.writeUIntBE(length, 1, head.length - 1)
  return head
}

/** @throws RangeError beyond 64 bits. */
function integer(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(9)
  bytes[0] = value < 0n ? 0xd3 : 0xcf
  if (value < 0n) bytes.writeBigInt64BE(value, 1)
  else bytes.writeBigUInt64BE(value, 1)
  return bytes
}
