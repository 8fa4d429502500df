import type { Clock } from './clock.ts'
import { type Measured, measured } from './measured.ts'

const SAMPLES = 8

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
  const samples: Measured[] = []
  for (let i = 0; i < SAMPLES; i++) {
    const sent = clock.system
    const there = await ask()
    const sample = measured([sent, clock.system], there)
    if (sample !== undefined) samples.push(sample)
  }
  samples.sort((a, b) => a.offset - b.offset)
  const median = samples[Math.floor(samples.length / 2)]?.offset
  if (median === undefined) return undefined
  // The true offset is within the error of each sample, so the sample nearest to the median bounds the median's error.
  const error = Math.min(...samples.map(sample => Math.abs(sample.offset - median) + sample.error))
  return { offset: median - clock.correction, error }
}
