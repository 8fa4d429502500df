/** Requests of one measurement. */
const SAMPLES = 8

/** Seconds by which another clock is ahead of this one. */
export interface Measured {
  readonly offset: number
  /** Maximum error of `offset`: half of the network delay, which may all have been in one direction. */
  readonly error: number
}

/**
 * Measurement of another clock by one request (RFC 4330, section 5); `undefined` for impossible times, such as a processing
 * time that is longer than the round trip.
 *
 * @param here - seconds by this clock when the request was sent, and when its answer was received.
 * @param there - seconds by the other clock when the request was received, and when its answer was sent.
 */
export function measured(
  [t1, t4]: readonly [number, number],
  [t2, t3]: readonly [number, number],
): Measured | undefined {
  const delay = t4 - t1 - (t3 - t2)
  return t3 >= t2 && delay >= 0 ? { offset: (t2 - t1 + (t3 - t4)) / 2, error: delay / 2 } : undefined
}

/**
 * By how many seconds another clock is ahead of `now`: the median of eight samples, one after the other, so that a few delayed ones do not
 * count; `undefined`: each sample is impossible.
 *
 * @param ask - gets the time of the request; resolves with the times of receipt and of answer by the other clock.
 * @throws (rejects) the error of `ask`
 */
export async function measure(
  now: () => number,
  ask: (sent: number) => Promise<readonly [number, number]>,
): Promise<Measured | undefined> {
  const samples: (Measured | undefined)[] = []
  while (samples.length < SAMPLES) {
    const sent = now()
    const there = await ask(sent)
    samples.push(measured([sent, now()], there))
  }
  return medianOf(samples)
}

function medianOf(samples: readonly (Measured | undefined)[]): Measured | undefined {
  const possible = samples.filter(sample => sample !== undefined).sort((a, b) => a.offset - b.offset)
  const median = possible[possible.length >> 1]
  if (median === undefined) return undefined
  const { offset } = median
  // The true offset is within the error of each sample, so each sample bounds the error of the median.
  return { offset, error: Math.min(...possible.map(sample => Math.abs(sample.offset - offset) + sample.error)) }
}
