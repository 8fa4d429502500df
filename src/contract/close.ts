import { FwsError } from './errors.ts'

/** Bytes of reason that fit a Close frame beside its code (RFC 6455, section 5.5: 125 in all). */
const MAX_REASON = 123

/** Codes that an endpoint may send: 1000 to 1014 less the reserved ones, and 3000 to 4999 (RFC 6455, section 7.4). */
export function checkCloseCode(code: number): void {
  const registered = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
  if (Number.isInteger(code) && (registered || (code >= 3000 && code <= 4999))) return
  throw new FwsError(
    'ERR_CLOSE_CODE',
    `a close code is 1000 to 1014 (not 1004 to 1006) or 3000 to 4999, received ${code}`,
  )
}

/** The reason cut to what a Close frame holds, at a character's end. */
export function cutReason(reason: string): string {
  if (reason.length <= MAX_REASON && Buffer.byteLength(reason) <= MAX_REASON) return reason
  const bytes = Buffer.from(reason.slice(0, MAX_REASON))
  let end = Math.min(MAX_REASON, bytes.length)
  while (isContinuation(bytes[end])) end--
  return bytes.toString('utf8', 0, end)
}

/** Whether a byte of UTF-8 goes on with the character before it. */
function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}
