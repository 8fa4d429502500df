import { type Measured, measure } from '../../protocols/ntp/measurement.ts'
import type { Clock } from './clock.ts'

/**
 * By how many seconds another clock is ahead of `clock.now`; `undefined`: each sample is impossible.
 *
 * @param ask - resolves with the times of receipt and of answer by the other clock.
 * @throws (rejects) the error of `ask`
 */
export async function measureOffset(
  clock: Clock,
  ask: () => Promise<readonly [number, number]>,
): Promise<Measured | undefined> {
  const found = await measure(() => clock.system, ask)
  return found && { ...found, offset: found.offset - clock.correction }
}
