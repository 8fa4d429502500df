import { type Measured, measured, medianOf, SAMPLES } from '../../protocols/clever-show/clock.ts'
import { MessagingError } from './error.ts'
import { overload } from './overload.ts'
import { type Call, type Clock, type Job, localTime } from './server-time.ts'

/** Seconds of busy waiting before a start time, as timers are late by about a millisecond. */
const SPIN = 0.001
/** Longest timer in seconds: the server's clock may be measured again meanwhile. */
const MAX_TIMER = 60

/** Offset of the server's clock and its error, in seconds. */
export async function measure(call: Call): Promise<Measured> {
  const samples: (Measured | undefined)[] = []
  while (samples.length < SAMPLES) {
    const t1 = localTime()
    // Null would count as 1970.
    const [t2, t3] = [await call('fws.clock', [t1])].flat().map(time => time ?? NaN) as [number, number]
    samples.push(measured([t1, localTime()], [t2, t3]))
  }
  const median = medianOf(samples)
  if (!median) throw new MessagingError('failed', 'the server sent no valid time')
  return median
}

export type Scheduler = ReturnType<typeof schedulerOf>

/** Runs jobs at their start times within about a millisecond; late ones at once. */
export function schedulerOf(clock: Clock) {
  /** By start time. */
  const jobs: Job[] = []
  let syncing: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let isStopped = false

  async function start(): Promise<void> {
    if (clock.error === Infinity) {
      // Without a measurement the jobs run by the local clock.
      syncing ??= clock.sync().catch(() => {})
      await syncing
      syncing = undefined
    }
    runDue()
  }

  function runDue(): void {
    clearTimeout(timer)
    for (let [job] = jobs; job; [job] = jobs) {
      const left = job.at - clock.now()
      if (left > SPIN) {
        timer = setTimeout(runDue, (Math.min(left, MAX_TIMER) - SPIN) * 1000)
        return
      }
      jobs.shift()
      while (clock.now() < job.at);
      job.run()
    }
  }

  return {
    /** Above the limit of pending messages, the job with the latest start time gets the error. */
    add(job: Job): void {
      if (isStopped) return
      jobs.push(job)
      jobs.sort((a, b) => a.at - b.at)
      let bytes = 0
      for (const { size } of jobs) bytes += size
      for (let error = overload(jobs.length, bytes); error; error = overload(jobs.length, bytes)) {
        const last = jobs.pop()!
        bytes -= last.size
        last.run(error)
      }
      void start()
    },
    /** Drops all jobs, also later ones. */
    stop(): void {
      isStopped = true
      jobs.length = 0
      clearTimeout(timer)
    },
  }
}
