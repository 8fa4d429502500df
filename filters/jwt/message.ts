import type { Payload } from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { Refused } from './refused.ts'

/** Characters of a message around its token. */
const AROUND = 64
/** Characters that decide whether a message is meant, however long it is. */
const PREFIX = 160
const STARTS = /^\s{0,64}\{\s{0,64}"auth"/

/** Whether a message starts like `{"auth":"TOKEN"}`: a token may be in it, whatever else it is. */
export function isAuth(payload: Payload): boolean {
  return STARTS.test(typeof payload === 'string' ? payload : payload.toString('latin1', 0, PREFIX))
}

/**
 * The token of such a message; empty when the message has another form.
 *
 * @param maxToken - characters of a token.
 * @throws Refused `too long`, unread.
 */
export function tokenIn(payload: Payload, maxToken: number): string {
  if (payload.length > maxToken + AROUND) throw new Refused('too long')
  if (typeof payload !== 'string') return ''
  let parsed: Readonly<Record<string, unknown>>
  try {
    parsed = readJson(payload) as typeof parsed
  } catch {
    return ''
  }
  return Object.keys(parsed).length === 1 && typeof parsed.auth === 'string' ? parsed.auth : ''
}
