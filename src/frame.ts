import type { Payload } from './types.ts'

const FIN_TEXT = 0x81
const FIN_BINARY = 0x82

/**
 * One complete server-to-client WebSocket frame, header and payload in one Buffer: FIN set, not masked, text for a
 * string and binary for a Buffer (RFC 6455, section 5.2). The payload is copied, so the caller may reuse its Buffer.
 */
export function frame(payload: Payload): Buffer {
  const length = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const out = Buffer.allocUnsafe(header + length)
  out[0] = typeof payload === 'string' ? FIN_TEXT : FIN_BINARY
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
  if (typeof payload === 'string') out.write(payload, header)
  else payload.copy(out, header)
  return out
}
