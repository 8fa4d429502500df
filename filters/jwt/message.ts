import type { Payload } from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { Refused } from './refusal.ts'

/** Characters of a message besides its token. */
const OVERHEAD = 64
/** Characters that decide whether a message has a token. */
const PREFIX = 160
const STARTS = /^\s{0,64}\{\s{0,64}"auth"/

/** Whether a message starts like `{"auth":"TOKEN"}`, so that it may contain a token. */
export function isAuth(payload: Payload): boolean {
  return STARTS.test(typeof payload === 'string' ? payload : payload.toString('latin1', 0, PREFIX))
}

/**
 * Returns the token of such a message, or an empty string if the message has another form.
 *
 * @param maxToken - maximum characters of a token.
 * @throws Refused `too long`, before parsing.
 */
export function tokenIn(payload: Payload, maxToken: number): string {
  if (payload.length > maxToken + OVERHEAD) throw new Refused('too long')
  if (typeof payload !== 'string') return ''
  let parsed: Readonly<Record<string, unknown>>
  try {
    parsed = readJson(payload) as typeof parsed
  } catch {
    return ''
  }
  return Object.keys(parsed).length === 1 && typeof parsed.auth === 'string' ? parsed.auth : ''
}
