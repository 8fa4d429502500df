import { overload } from './overload.ts'
import { type Call, type Clock, type Job, localTime } from './server-time.ts'

export type Scheduler = ReturnType<typeof schedulerOf>

/** Runs jobs at their start times. */
export function schedulerOf(clock: Clock) {
  /** By start time. */
  const jobs: Job[] = []
  let runner: Promise<() => void> | undefined
  let isStopped = false

  async function update(): Promise<void> {
    try {
      runner ??= import('./timing.ts').then(({ jobRunner }) => jobRunner(clock, jobs))
      const run = await runner
      run()
    } catch (error) {
      // The module did not load; the next job tries again.
      runner = undefined
      for (const job of jobs.splice(0)) job.run(error)
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
      for (;;) {
        const error = overload(jobs.length, bytes)
        if (!error) break
        const last = jobs.pop()!
        bytes -= last.size
        last.run(error)
      }
      void update()
    },
    /** Drops all jobs, also later ones. */
    stop(): void {
      isStopped = true
      jobs.length = 0
      if (runner) void update()
    },
  }
}

export function clockOf(call: Call): Clock {
  const clock = {
    offset: 0,
    error: Infinity,
    now: () => localTime() + clock.offset,
    async sync() {
      Object.assign(clock, await (await import('./timing.ts')).measure(call))
    },
  }
  return clock
}
