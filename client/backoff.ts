/**
 * Milliseconds before a retry, a whole number: exponential backoff with full jitter, so that the clients of a restarted server do not
 * reconnect at the same time.
 *
 * @param attempt - counted from 0.
 */
export function delayBefore(attempt: number, first: number, max: number, random = Math.random()): number {
  return Math.round(random * Math.min(max, first * 2 ** attempt))
}
