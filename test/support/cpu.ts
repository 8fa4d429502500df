import assert from 'node:assert/strict'

/** Milliseconds of CPU: several times the cost of a hostile input with a bound, less than its cost without one. */
const MAX_MS = 250

/** The least CPU time of three runs in milliseconds, which does not depend on the load of the machine, and the result. */
export function cpuTime<T>(run: () => T): { readonly ms: number; readonly result: T } {
  let ms = Number.POSITIVE_INFINITY
  let result!: T
  for (let i = 0; i < 3; i++) {
    const before = process.cpuUsage()
    result = run()
    const { user, system } = process.cpuUsage(before)
    ms = Math.min(ms, (user + system) / 1000)
  }
  return { ms, result }
}

/** Runs a function and fails if it takes more than `MAX_MS`. */
export function cheap<T>(run: () => T, what: string): T {
  const { ms, result } = cpuTime(run)
  assert.ok(ms < MAX_MS, `${what} took ${ms} ms of CPU`)
  return result
}

/** A string of exactly `length` characters: a beginning, repetitions and an end. */
export function filled(length: number, begin: string, repeated: string, end: string): string {
  const count = Math.floor((length - begin.length - end.length) / repeated.length)
  return (begin + repeated.repeat(count) + end).padEnd(length)
}
