import { readFileSync } from 'node:fs'

/** CPU time of a process in microseconds, with all threads; NaN without /proc. */
export function processorTime(pid: number): number {
  if (process.platform !== 'linux') return Number.NaN
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ').slice(11, 13)
  // In ticks of 10 ms (proc_pid_stat(5)).
  return (Number(user) + Number(system)) * 10_000
}
