// Loaded when it is needed: see load-timing.ts.
import { type Measured, measured, medianOf, SAMPLES } from '../../protocols/clever-show/clock.ts'
import { MessagingError } from './error.ts'
import { type Asking, type Clock, here, type Job } from './server-time.ts'

/** Seconds before the instant at which waiting ends and looking at the clock begins: timers come late, by about one ms. */
const EARLY = 0.001
/** Seconds that a timer holds; the clock may be set meanwhile. */
const LONGEST = 60

/** How far the server's clock is ahead of this one, and how wrong that may be, in seconds. */
export async function measure(ask: Asking): Promise<Measured> {
  const samples: (Measured | undefined)[] = []
  while (samples.length < SAMPLES) {
    const t1 = here()
    // Null would count as 1970.
    const [came, sent] = [await ask('fws.clock', [t1])].flat().map(time => time ?? NaN) as [number, number]
    samples.push(measured([t1, here()], [came, sent]))
  }
  const median = medianOf(samples)
  if (!median) throw new MessagingError('failed', 'the server told no time')
  return median
}

/**
 * Does jobs at their instants on the server's clock, within about a millisecond; at once if that has passed.
 *
 * @param jobs - the next first; what is begun is taken out.
 * @returns what to call when a job was added, or all have gone.
 */
export function watchOf(clock: Clock, jobs: Job[]): () => Promise<void> {
  /** One for all that wait for it. */
  let syncing: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  function look(): void {
    clearTimeout(timer)
    for (let [job] = jobs; job; [job] = jobs) {
      const left = job.at - clock.now()
      if (left > EARLY) {
        timer = setTimeout(look, (Math.min(left, LONGEST) - EARLY) * 1000)
        return
      }
      jobs.shift()
      while (clock.now() < job.at);
      job.run()
    }
  }

  return async () => {
    // Better by a clock that is not set than not at all.
    if (jobs.length > 0 && !Number.isFinite(clock.error)) {
      syncing ??= clock.sync().catch(() => {})
      await syncing
      syncing = undefined
    }
    look()
  }
}
