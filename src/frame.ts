import type { Payload } from './types.ts'

const FIN_TEXT = 0x81
const FIN_BINARY = 0x82

/**
 * One complete server-to-client WebSocket frame, header and payload in one Buffer: FIN set, not masked, text for a
 * string and binary for a Buffer (RFC 6455, section 5.2). The payload is copied, so the caller may reuse its Buffer.
 */
export function frame(payload: Payload): Buffer {
  const isText = typeof payload === 'string'
  const length = isText ? Buffer.byteLength(payload) : payload.length
  const out = withHeader(isText ? FIN_TEXT : FIN_BINARY, length, length)
  const start = out.length - length
  if (isText) out.write(payload, start)
  else payload.copy(out, start)
  return out
}

/** The same for bytes that a message became by an extension, as RSV1 tells (RFC 7692, section 6). */
export function extendedFrame(isText: boolean, bytes: Buffer): Buffer {
  const RSV1 = 0x40
  const out = withHeader((isText ? FIN_TEXT : FIN_BINARY) | RSV1, bytes.length, bytes.length)
  bytes.copy(out, out.length - bytes.length)
  return out
}

/** Bytes of the number that stands before each message of a numbered codec. */
const NUMBER_BYTES = 8

/**
 * How the frame of a numbered message begins, up to the bytes that all clients share.
 *
 * @param length - of those, in bytes.
 */
export function numberedHead(number: number, length: number): Buffer {
  const head = withHeader(FIN_BINARY, NUMBER_BYTES + length, NUMBER_BYTES)
  writeNumber(head, number, head.length - NUMBER_BYTES)
  return head
}

/** The same message whole, for transports that frame it in their own way. */
export function numberedMessage(number: number, rest: Buffer): Buffer {
  const message = Buffer.allocUnsafe(NUMBER_BYTES + rest.length)
  writeNumber(message, number, 0)
  rest.copy(message, NUMBER_BYTES)
  return message
}

function writeNumber(into: Buffer, number: number, at: number): void {
  into.writeUInt32BE(Math.floor(number / 2 ** 32), at)
  into.writeUInt32BE(number >>> 0, at + 4)
}

/**
 * A frame whose payload is still to be written.
 *
 * @param room - bytes of the payload that it gets room for.
 */
function withHeader(first: number, length: number, room: number): Buffer {
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const out = Buffer.allocUnsafe(header + room)
  out[0] = first
  if (length < 126) {
    out[1] = length
  } else if (length < 65_536) {
    out[1] = 126
    out.writeUInt16BE(length, 2)
  } else {
    out[1] = 127
    out.writeUInt32BE(Math.floor(length / 2 ** 32), 2)
    out.writeUInt32BE(length >>> 0, 6)
  }
  return out
}
