import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Compares a secret of a peer in constant time, independent of the lengths.
 *
 * @example
 * if (!isSameSecret(given, key)) respond(res, 401, 'wrong key')
 */
export function isSameSecret(a: string, b: string): boolean {
  const [first, second] = [a, b].map(text => createHash('sha256').update(text).digest())
  return timingSafeEqual(first!, second!)
}
