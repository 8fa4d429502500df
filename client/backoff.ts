/**
 * Milliseconds before attempt number `attempt`, counted from 0: anything up to `first`, doubled with each attempt, at
 * most `longest`. Spread over the whole range, so that the clients of a server that restarts do not come back at once
 * (exponential backoff with full jitter).
 */
export function delayBefore(attempt: number, first: number, longest: number, random = Math.random()): number {
  return random * Math.min(longest, first * 2 ** attempt)
}
