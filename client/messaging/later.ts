import { busy, isTooMuch } from './bounds.ts'
import { loadTiming } from './load-timing.ts'
import type { Clock, Job } from './server-time.ts'

/** What is to be done at instants. */
export interface Later {
  /** Where too much waits, the farthest is dropped. */
  add(job: Job): void
  /** Forgets everything, for good. */
  stop(): void
}

export function laterOf(clock: Clock): Later {
  /** The next first. */
  const jobs: Job[] = []
  let watch: Promise<() => void> | undefined
  let isOver = false

  async function look(): Promise<void> {
    try {
      watch ??= loadTiming().then(({ watchOf }) => watchOf(clock, jobs))
      const lookNow = await watch
      lookNow()
    } catch (error) {
      // Nothing tells the instants.
      watch = undefined
      for (const job of jobs.splice(0)) job.run(error)
    }
  }

  return {
    add(job) {
      if (isOver) return
      jobs.push(job)
      jobs.sort((a, b) => a.at - b.at)
      let bytes = 0
      for (const { size } of jobs) bytes += size
      while (isTooMuch(jobs.length, bytes)) {
        const farthest = jobs.pop()!
        bytes -= farthest.size
        farthest.run(busy())
      }
      void look()
    },
    stop() {
      isOver = true
      jobs.length = 0
      if (watch) void look()
    },
  }
}
