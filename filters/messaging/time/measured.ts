/** How far another clock is ahead of ours, in seconds. */
export interface Measured {
  readonly offset: number
  /** How wrong that is at most: half of the time on the way, which may all have been in one direction. */
  readonly error: number
}

/**
 * What one question tells of another clock (RFC 4330, section 5); `undefined`: nothing, as nobody has a question for longer
 * than its answer takes.
 *
 * @param here - seconds when it was sent and when the answer came.
 * @param there - when it came, and when the answer was sent.
 */
export function measured(
  [t1, t4]: readonly [number, number],
  [t2, t3]: readonly [number, number],
): Measured | undefined {
  const onTheWay = t4 - t1 - (t3 - t2)
  return t3 < t2 || onTheWay < 0 ? undefined : { offset: (t2 - t1 + (t3 - t4)) / 2, error: onTheWay / 2 }
}
