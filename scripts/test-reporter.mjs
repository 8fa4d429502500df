// The spec reporter with one more line per reason of skipped tests, and the slowest files. With NO_SKIPS, a skip because of a
// missing program fails the run.
import { relative } from 'node:path'
import { Readable } from 'node:stream'
import { spec } from 'node:test/reporters'

/** Files that are named at the end. */
const SLOWEST = 12

export default async function* report(events) {
  const skipped = new Map()
  /** Milliseconds of each file. */
  const times = new Map()
  async function* watch() {
    for await (const event of events) {
      const { skip, file, nesting, details } = event.data ?? {}
      if (event.type === 'test:complete' && nesting === 0 && file?.endsWith('.test.ts'))
        times.set(file, (times.get(file) ?? 0) + details.duration_ms)
      if (event.type === 'test:pass' && skip !== undefined) {
        const reason = typeof skip === 'string' && skip !== '' ? skip : 'no reason is given'
        skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
      }
      yield event
    }
  }
  yield* Readable.from(watch()).pipe(new spec())
  for (const [reason, count] of skipped) yield `skipped ${count} tests and suites: ${reason}\n`
  const slowest = [...times].sort(([, a], [, b]) => b - a).slice(0, SLOWEST)
  const shown = slowest.map(([file, ms]) => `${relative('', file)} ${Math.round(ms / 1000)} s`)
  yield `slowest files: ${shown.join(', ')}\n`
  const isMissing = reason => reason.includes('on the PATH')
  if (process.env.NO_SKIPS && [...skipped.keys()].some(isMissing)) process.exitCode = 1
}
