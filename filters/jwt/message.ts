import type { Payload } from 'filtered-websocket'

/** Characters of a message around its token. */
export const AROUND = 64
const STARTS = /^\s*\{\s*"auth"/

/** The token of a message `{"auth":"TOKEN"}`, an empty one if it holds anything else; `undefined`: another message. */
export function authIn(payload: Payload): string | undefined {
  // Nearly all end here.
  if (typeof payload !== 'string' || !STARTS.test(payload)) return undefined
  let parsed: Readonly<Record<string, unknown>>
  try {
    parsed = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (Object.keys(parsed).length !== 1) return undefined
  return typeof parsed.auth === 'string' ? parsed.auth : ''
}
