import { FwsError } from './errors.ts'

/** Bytes of the reason in a Close frame: 125 less the code (RFC 6455, section 5.5). */
const MAX_REASON = 123

/** Whether an endpoint may send the code: 1000 to 1014 without the reserved ones, and 3000 to 4999 (RFC 6455, section 7.4). */
export function isCloseCode(code: number): boolean {
  const isRegistered = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
  return Number.isInteger(code) && (isRegistered || (code >= 3000 && code <= 4999))
}

/** @throws FwsError `ERR_CLOSE_CODE` for a code that an endpoint must not send. */
export function checkCloseCode(code: number): void {
  if (isCloseCode(code)) return
  throw new FwsError(
    'ERR_CLOSE_CODE',
    `a close code is 1000 to 1014 (not 1004 to 1006) or 3000 to 4999, received ${code}`,
  )
}

/**
 * Subprotocol of connections that are refused by a close code. Clients that offer it get 101 and a close with 4401 or 4403 for
 * 401 and 403 of a filter, since browsers hide the status of a refused handshake.
 */
export const REFUSED_PROTOCOL = 'fws.refused'

/** The close code for the status of a refused handshake; `undefined` for other statuses, which clients may try again. */
export function closeCodeOf(status: number): number | undefined {
  return status === 401 || status === 403 ? 4000 + status : undefined
}

/**
 * The label under which a close code that a peer has chosen is counted: a defined code (RFC 6455, section 7.4.1 and the IANA
 * registry: 1000 to 1015) by itself, others by their range, as a peer can choose any of 2,000.
 */
export function closeLabel(code: number): string {
  if (code >= 1000 && code <= 1015) return `${code}`
  if (code >= 3000 && code <= 4999) return code < 4000 ? '3xxx' : '4xxx'
  return 'other'
}

/** Cuts a reason to the size that fits in a Close frame, without splitting a character. */
export function cutReason(reason: string): string {
  if (reason.length <= MAX_REASON && Buffer.byteLength(reason) <= MAX_REASON) return reason
  const bytes = Buffer.from(reason.slice(0, MAX_REASON))
  let end = Math.min(MAX_REASON, bytes.length)
  while (isContinuation(bytes[end])) end--
  return bytes.toString('utf8', 0, end)
}

/** Whether a byte continues a UTF-8 sequence. */
function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}
