import type { Encoded } from '../contract/codec.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import { allocate, block, MAX_IN_BLOCK, reserve, Span } from './block.ts'
import { COPY_BELOW, Pieces } from './pieces.ts'

const FIN = 0x80
const FIN_TEXT = 0x81
const FIN_BINARY = 0x82
const RSV1 = 0x40

/**
 * One unmasked WebSocket frame with FIN set, header and payload in one Buffer: text for a string, binary for a Buffer
 * (RFC 6455, section 5.2). The payload is copied: the caller may reuse its Buffer.
 */
export function frame(payload: Payload): Buffer {
  const length = Buffer.byteLength(payload)
  const out = allocate(headerBytes(length) + length)
  writeFrame(out, 0, payload, length)
  return out
}

/**
 * The same in the current block.
 *
 * @param before - frames of the same client.
 * @returns `before` if the frame was added to it, because it directly follows; `undefined` if it is too large for a block.
 */
export function frameSpan(payload: Payload, before: Span | undefined): Span | undefined {
  const length = Buffer.byteLength(payload)
  const size = headerBytes(length) + length
  if (size > MAX_IN_BLOCK) return undefined
  const start = reserve(size)
  writeFrame(block, start, payload, length)
  return before?.extend(start, start + size) === true ? before : new Span(start, start + size)
}

function writeFrame(out: Buffer, at: number, payload: Payload, length: number): void {
  const isText = typeof payload === 'string'
  const start = at + writeHeader(out, at, isText ? FIN_TEXT : FIN_BINARY, length)
  if (!isText) payload.copy(out, start)
  // As many bytes as characters: ASCII.
  else out.write(payload, start, payload.length === length ? 'latin1' : 'utf8')
}

const NO_PAYLOAD = Buffer.alloc(0)

/**
 * An unmasked control frame (RFC 6455, section 5.5).
 *
 * @param payload - at most 125 bytes.
 */
export function controlFrame(opcode: number, payload: Buffer = NO_PAYLOAD): Buffer {
  const out = Buffer.allocUnsafe(2 + payload.length)
  writeHeader(out, 0, FIN | opcode, payload.length)
  payload.copy(out, 2)
  return out
}

/** A frame with RSV1 set, for a message compressed by permessage-deflate (RFC 7692, section 6). */
export function extendedFrame(isText: boolean, bytes: Buffer): Buffer {
  const start = headerBytes(bytes.length)
  const out = allocate(start + bytes.length)
  writeHeader(out, 0, (isText ? FIN_TEXT : FIN_BINARY) | RSV1, bytes.length)
  bytes.copy(out, start)
  return out
}

/** The frames of several messages in one Buffer, or as pieces if a message is large. */
export function frames(messages: Exclude<Encoded, Payload>): Buffer | Pieces {
  const lengths = messages.map(lengthOf)
  if (lengths.some(length => length >= COPY_BELOW)) return inPieces(messages, lengths)
  const out = allocate(lengths.reduce((sum, length) => sum + headerBytes(length) + length, 0))
  let at = 0
  for (const [i, message] of messages.entries()) {
    at += writeHeader(out, at, firstByteOf(message), lengths[i]!)
    if (typeof message === 'string') at += out.write(message, at)
    else
      for (const part of partsOf(message)) {
        out.set(part, at)
        at += part.length
      }
  }
  return out
}

function inPieces(messages: Exclude<Encoded, Payload>, lengths: readonly number[]): Pieces {
  const parts: Uint8Array[] = []
  for (const [i, message] of messages.entries()) {
    const header = allocate(headerBytes(lengths[i]!))
    writeHeader(header, 0, firstByteOf(message), lengths[i]!)
    parts.push(header)
    if (typeof message === 'string') parts.push(Buffer.from(message))
    else parts.push(...partsOf(message))
  }
  return new Pieces(parts)
}

type Message = Exclude<Encoded, Payload>[number]

function firstByteOf(message: Message): number {
  return typeof message === 'string' || 'text' in message ? FIN_TEXT : FIN_BINARY
}

function partsOf(message: Exclude<Message, string>): readonly Uint8Array[] {
  if (message instanceof Uint8Array) return [message]
  return 'text' in message ? message.text : message
}

/** A message of several as a payload, for transports with their own framing. */
export function payloadOf(message: Message): Payload {
  if (isPayload(message)) return message
  const bytes = Buffer.concat(partsOf(message))
  return 'text' in message ? bytes.toString() : bytes
}

function lengthOf(message: Message): number {
  if (typeof message === 'string') return Buffer.byteLength(message)
  return partsOf(message).reduce((sum, part) => sum + part.length, 0)
}

/** Bytes of the number before each message of a numbered codec. */
const NUMBER_BYTES = 8

/**
 * The header and the number of a numbered message, without the bytes that all clients share.
 *
 * @param length - length of the shared bytes.
 */
export function numberedHead(number: number, length: number): Buffer {
  const start = headerBytes(NUMBER_BYTES + length)
  const head = allocate(start + NUMBER_BYTES)
  writeHeader(head, 0, FIN_BINARY, NUMBER_BYTES + length)
  head.writeUInt32BE(Math.floor(number / 2 ** 32), start)
  head.writeUInt32BE(number >>> 0, start + 4)
  return head
}

/** A complete numbered message, for transports with their own framing. */
export function numberedMessage(number: number, rest: Buffer): Buffer {
  return Buffer.concat([numberedHead(number, rest.length).subarray(-NUMBER_BYTES), rest])
}

/** Length of the header for a payload of this length. */
function headerBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

/** Returns the length of the header. */
function writeHeader(out: Buffer, at: number, first: number, length: number): number {
  out[at] = first
  if (length < 126) {
    out[at + 1] = length
  } else if (length < 65_536) {
    out[at + 1] = 126
    out.writeUInt16BE(length, at + 2)
  } else {
    out[at + 1] = 127
    out.writeUInt32BE(Math.floor(length / 2 ** 32), at + 2)
    out.writeUInt32BE(length >>> 0, at + 6)
  }
  return headerBytes(length)
}
