import { type Measured, measured, medianOf, SAMPLES } from '../../protocols/clever-show/clock.ts'
import type { Clock } from './clock.ts'

/**
 * By how many seconds another clock is ahead of `clock.now`; `undefined`: each sample is impossible.
 *
 * The median of eight samples, one after the other, so that a few delayed ones do not count.
 *
 * @param ask - resolves with the times of receipt and of answer by the other clock.
 * @throws (rejects) what `ask` throws.
 */
export async function measureOffset(
  clock: Clock,
  ask: () => Promise<readonly [number, number]>,
): Promise<Measured | undefined> {
  const samples: (Measured | undefined)[] = []
  for (let i = 0; i < SAMPLES; i++) {
    const sent = clock.system
    const there = await ask()
    samples.push(measured([sent, clock.system], there))
  }
  const median = medianOf(samples)
  return median && { ...median, offset: median.offset - clock.correction }
}
