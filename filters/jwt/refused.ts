/** Why a token is refused, in words that are safe to show: none of them is made of the token. */
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
  | 'revoked'
  | 'another subject'
  | 'key unavailable'
  | 'revocations unavailable'

const OURS: readonly Reason[] = ['key unavailable', 'revocations unavailable']
const REALM = 'realm="filtered-websocket"'

/** Not let in. */
export class Refused extends Error {
  readonly reason: Reason

  constructor(reason: Reason, cause?: unknown) {
    super(reason === 'no token' ? reason : `token refused: ${reason}`, { cause })
    this.reason = reason
  }

  /** Nothing is wrong with the token, as far as is known: a key or the storage cannot be had. */
  get isOurs(): boolean {
    return OURS.includes(this.reason)
  }

  /** What a handshake is answered (RFC 6750, section 3). */
  get answer(): { readonly status: number; readonly headers: Readonly<Record<string, string>> } {
    if (this.isOurs) return { status: 503, headers: { 'Retry-After': '5' } }
    if (this.reason === 'no token') return { status: 401, headers: { 'WWW-Authenticate': `Bearer ${REALM}` } }
    const isTwo = this.reason === 'two different tokens'
    const error = `error="${isTwo ? 'invalid_request' : 'invalid_token'}", error_description="${this.reason}"`
    return { status: isTwo ? 400 : 401, headers: { 'WWW-Authenticate': `Bearer ${REALM}, ${error}` } }
  }
}
