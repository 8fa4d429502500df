// Loaded when it is needed: see load-timing.ts.
import { MessagingError } from './error.ts'
import { type Asking, type Clock, here, type Job } from './server-time.ts'

const SAMPLES = 8
/** Seconds before the instant at which waiting ends and looking at the clock begins: timers come late, by about one ms. */
const EARLY = 0.001
/** Seconds that a timer holds; the clock may be set meanwhile. */
const LONGEST = 60

/** How far the server's clock is ahead of this one, and how wrong that may be, in seconds. */
export async function measure(ask: Asking): Promise<Pick<Clock, 'offset' | 'error'>> {
  const samples: (readonly [offset: number, half: number])[] = []
  while (samples.length < SAMPLES) {
    const t1 = here()
    // Null would count as 1970.
    const [t2, t3] = [await ask('fws.clock', [t1])].flat().map(time => time ?? NaN) as [number, number]
    const t4 = here()
    samples.push([(t2 - t1 + t3 - t4) / 2, (t4 - t1 - (t3 - t2)) / 2])
  }
  samples.sort(([a], [b]) => a - b)
  const [median] = samples[SAMPLES / 2]!
  // True is what lies within half of each delay around each offset: how far the median may be from that.
  const error = Math.min(...samples.map(([offset, half]) => Math.abs(offset - median) + half))
  if (!(error >= 0)) throw new MessagingError('failed', 'the server told no time')
  return { offset: median, error }
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
