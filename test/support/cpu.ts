import assert from 'node:assert/strict'

/** Milliseconds: several times what a hostile input costs here, and less than it cost without a bound. */
const MAX_MS = 250

/** Runs something that must not keep the process busy, however many others share the machine; the best of three runs counts. */
export function cheap<T>(run: () => T, what: string): T {
  let best = Number.POSITIVE_INFINITY
  let result!: T
  for (let i = 0; i < 3; i++) {
    const before = process.cpuUsage()
    result = run()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, (user + system) / 1000)
  }
  assert.ok(best < MAX_MS, `${what} took ${best} ms of CPU`)
  return result
}

/** A text of exactly so many characters: a beginning, repetitions and an end. */
export function filled(length: number, begin: string, repeated: string, end: string): string {
  const count = Math.floor((length - begin.length - end.length) / repeated.length)
  return (begin + repeated.repeat(count) + end).padEnd(length)
}
