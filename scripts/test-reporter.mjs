// Prints what the spec reporter prints, then one line for each reason for which tests were skipped. With NO_SKIPS, a skip fails the run.
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
  for (const [reason, count] of skipped) yield `skipped ${count} tests: ${reason}\n`
  if (skipped.size > 0 && process.env.NO_SKIPS) process.exitCode = 1
}
