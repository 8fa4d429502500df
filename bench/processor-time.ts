import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time of a process in microseconds, user and system, with all threads; NaN without /proc. The larger of two lower bounds: the
 * nanoseconds of the running threads lack those of threads that have ended, and the total has them, in whole ticks. So it is too low by
 * less than two ticks, and without ended threads only by the time since the last scheduler tick.
 */
export function processorTime(pid: number): number {
  if (process.platform !== 'linux') return Number.NaN
  return Math.max(timeOfThreads(pid), timeInTicks(pid))
}

/** The first field of `schedstat` is in nanoseconds (Linux, Documentation/scheduler/sched-stats). */
function timeOfThreads(pid: number): number {
  const threads = `/proc/${pid}/task`
  return readdirSync(threads).reduce((sum, tid) => sum + nanoseconds(`${threads}/${tid}/schedstat`), 0) / 1000
}

/** 0 for a thread that has just ended, and for kernels without scheduler statistics. */
function nanoseconds(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1').split(' ')[0])
  } catch {
    return 0
  }
}

/** User and system time are in ticks of 10 ms (proc_pid_stat(5)). */
function timeInTicks(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ').slice(11, 13)
  return (Number(user) + Number(system)) * 10_000
}
