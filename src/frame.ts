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
  const out = withHeader(isText ? FIN_TEXT : FIN_BINARY, length)
  const start = out.length - length
  if (isText) out.write(payload, start)
  else payload.copy(out, start)
  return out
}

/** The same for bytes that a message became by an extension, as RSV1 tells (RFC 7692, section 6). */
export function extendedFrame(isText: boolean, bytes: Buffer): Buffer {
  const RSV1 = 0x40
  const out = withHeader((isText ? FIN_TEXT : FIN_BINARY) | RSV1, bytes.length)
  bytes.copy(out, out.length - bytes.length)
  return out
}

/** A frame whose payload is still to be written. */
function withHeader(first: number, length: number): Buffer {
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const out = Buffer.allocUnsafe(header + length)
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
