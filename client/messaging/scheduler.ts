import { MessagingError } from './error.ts'
import type { Clock } from './server-time.ts'

/** Seconds of busy waiting before a start time, as timers are late by about a millisecond. */
const SPIN = 0.001
/** Longest timer in seconds: the server's clock may be measured again meanwhile. */
const MAX_TIMER = 60

/** Messages of the server that are pending at a time, and their bytes. */
const MAX_MESSAGES = 1000
const MAX_BYTES = 16 * 1024 * 1024

/** A task with a start time. */
export interface Job {
  /** Seconds since 1970 on the server's clock. */
  readonly at: number
  /** Bytes of its message. */
  readonly size: number
  /** @param error - the reason why the job must not run. */
  run(error?: unknown): void
}

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

/** The error for a message that exceeds the limits of pending messages, if it does. */
export function overload(messages: number, bytes: number): MessagingError | undefined {
  if (messages > MAX_MESSAGES || bytes > MAX_BYTES) return new MessagingError('busy', 'too many messages')
}
