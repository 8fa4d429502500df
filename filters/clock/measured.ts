/** By how many seconds another clock is ahead. */
export interface Measured {
  readonly offset: number
  /** Upper bound of the error of `offset`: half of the round trip, all of which may have been in one direction. */
  readonly error: number
}

/**
 * The offset of another clock by one request and its answer (RFC 4330, section 5); `undefined`: the times are impossible, such
 * as an answer that took longer there than the whole exchange.
 *
 * @param here - seconds by our clock when the request was sent and the answer received.
 * @param there - seconds by the other clock when the request was received and the answer sent.
 */
export function measured(
  [t1, t4]: readonly [number, number],
  [t2, t3]: readonly [number, number],
): Measured | undefined {
  const roundTrip = t4 - t1 - (t3 - t2)
  return t3 < t2 || roundTrip < 0 ? undefined : { offset: (t2 - t1 + (t3 - t4)) / 2, error: roundTrip / 2 }
}
