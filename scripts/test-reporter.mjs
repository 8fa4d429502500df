// The spec reporter with one more line per reason of skipped tests. With NO_SKIPS, a skip because of a missing program fails the
// run.
import { Readable } from 'node:stream'
import { spec } from 'node:test/reporters'

export default async function* report(events) {
  const skipped = new Map()
  async function* watch() {
    for await (const event of events) {
      const { skip } = event.data ?? {}
      if (event.type === 'test:pass' && skip !== undefined) {
        const reason = typeof skip === 'string' && skip !== '' ? skip : 'no reason is given'
        skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
      }
      yield event
    }
  }
  yield* Readable.from(watch()).pipe(new spec())
  for (const [reason, count] of skipped) yield `skipped ${count} tests and suites: ${reason}\n`
  const isMissing = reason => reason.includes('on the PATH')
  if (process.env.NO_SKIPS && [...skipped.keys()].some(isMissing)) process.exitCode = 1
}
