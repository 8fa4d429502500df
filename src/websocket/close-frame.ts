import { controlFrame } from '../fanout/frame.ts'
import { CLOSE } from './opcodes.ts'

/**
 * A Close frame (RFC 6455, section 5.5.1).
 *
 * @param code - `undefined`: without a code.
 * @param reason - at most 123 bytes.
 */
export function closeFrame(code: number | undefined, reason: string): Buffer {
  if (code === undefined) return controlFrame(CLOSE)
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code)
  payload.write(reason, 2)
  return controlFrame(CLOSE, payload)
}
