import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds of work between two reads of the sockets. */
const SLICE_MS = 1

/**
 * Calls `work` for each item, in slices of 1 ms between which the event loop serves its sockets and timers. Returns a promise if
 * the first slice, which runs at once, does not reach the end.
 *
 * Of a `Map` or a `Set`, entries that are deleted meanwhile are skipped, and entries that are added are included; `work` MUST NOT
 * add one for each that it gets.
 *
 * @throws the first error of `work`, or rejects with it; later items are skipped.
 * @example
 * host.every(1000, () => inSlices(sessions, session => session.check()))
 */
export function inSlices<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> | undefined {
  const rest = items[Symbol.iterator]()
  return runSlice(rest, work) ? undefined : runRest(rest, work)
}

async function runRest<T>(rest: Iterator<T>, work: (item: T) => void): Promise<void> {
  do await nextTurn()
  while (!runSlice(rest, work))
}

/** Returns whether all is done. */
function runSlice<T>(rest: Iterator<T>, work: (item: T) => void): boolean {
  const end = performance.now() + SLICE_MS
  do {
    const next = rest.next()
    if (next.done) return true
    work(next.value)
  } while (performance.now() < end)
  return false
}
