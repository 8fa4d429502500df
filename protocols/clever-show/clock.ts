/** Questions for one measurement. */
export const SAMPLES = 8

/** How far another clock is ahead of this one, in seconds. */
export interface Measured {
  readonly offset: number
  /** How wrong `offset` is at most: half of the time on the way, which may all have been in one direction. */
  readonly error: number
}

/**
 * Measurement of another clock by one request (RFC 4330, section 5); `undefined` for impossible times, as a question is not
 * with the other side for longer than its answer takes.
 *
 * @param here - seconds when the question was sent and when the answer came.
 * @param there - seconds when the question came, and when the answer was sent.
 */
export function measured(
  [t1, t4]: readonly [number, number],
  [t2, t3]: readonly [number, number],
): Measured | undefined {
  const onTheWay = t4 - t1 - (t3 - t2)
  return t3 >= t2 && onTheWay >= 0 ? { offset: (t2 - t1 + (t3 - t4)) / 2, error: onTheWay / 2 } : undefined
}

/** The median of samples, so that one that was held up does not count; `undefined`: all were impossible. */
export function medianOf(samples: readonly (Measured | undefined)[]): Measured | undefined {
  const possible = samples.filter(sample => sample !== undefined).sort((a, b) => a.offset - b.offset)
  const median = possible[possible.length >> 1]
  if (median === undefined) return undefined
  const { offset } = median
  // The truth is within the error of each sample: how far from that the median may be.
  return { offset, error: Math.min(...possible.map(sample => Math.abs(sample.offset - offset) + sample.error)) }
}
