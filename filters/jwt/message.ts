import type { Payload } from 'filtered-websocket'

/** Characters of a message around its token. */
export const AROUND = 64
const STARTS = /^\s*\{\s*"auth"/

/** RFC 8259, section 2. */
const BLANKS = [0x20, 0x09, 0x0a, 0x0d]
const BRACE = 0x7b

/**
 * The token of a message `{"auth":"TOKEN"}`; an empty one if the message starts like that and is anything else, for a token
 * may be in it all the same; `undefined`: another message.
 */
export function authIn(payload: Payload): string | undefined {
  // Nearly all end here.
  if (!STARTS.test(typeof payload === 'string' ? payload : objectIn(payload))) return undefined
  if (typeof payload !== 'string') return ''
  let parsed: Readonly<Record<string, unknown>>
  try {
    parsed = JSON.parse(payload)
  } catch {
    return ''
  }
  return Object.keys(parsed).length === 1 && typeof parsed.auth === 'string' ? parsed.auth : ''
}

/** The text of a binary message that may be a JSON object; empty for all others, which are not copied. */
function objectIn(payload: Buffer): string {
  const first = payload.find(byte => !BLANKS.includes(byte))
  return first === BRACE ? payload.toString('latin1') : ''
}
