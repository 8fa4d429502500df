/** Why a token is refused. Safe to show: no text comes from the token. */
export type Reason =
  | 'no token'
  | 'two different tokens'
  | 'too long'
  | 'malformed'
  | 'wrong algorithm'
  | 'unknown key'
  | 'bad signature'
  | 'not yet valid'
  | 'expired'
  | 'no expiry'
  | 'wrong audience'
  | 'wrong issuer'
  | 'wrong claim'
  | 'revoked'
  | 'another subject'
  | 'key unavailable'
  | 'revocations unavailable'

const UNAVAILABLE: readonly Reason[] = ['key unavailable', 'revocations unavailable']
const REALM = 'realm="filtered-websocket"'

/** A refused token. */
export class Refused extends Error {
  readonly reason: Reason

  constructor(reason: Reason, cause?: unknown) {
    super(reason === 'no token' ? reason : `token refused: ${reason}`, { cause })
    this.reason = reason
  }

  /** Whether the token could not be checked because a key or the storage is unavailable. */
  get isUnavailable(): boolean {
    return UNAVAILABLE.includes(this.reason)
  }

  /** The HTTP response to a handshake (RFC 6750, section 3). */
  get answer(): { readonly status: number; readonly headers: Readonly<Record<string, string>> } {
    if (this.isUnavailable) return { status: 503, headers: { 'Retry-After': '5' } }
    if (this.reason === 'no token') return { status: 401, headers: { 'WWW-Authenticate': `Bearer ${REALM}` } }
    const isAmbiguous = this.reason === 'two different tokens'
    const error = `error="${isAmbiguous ? 'invalid_request' : 'invalid_token'}", error_description="${this.reason}"`
    return { status: isAmbiguous ? 400 : 401, headers: { 'WWW-Authenticate': `Bearer ${REALM}, ${error}` } }
  }
}
