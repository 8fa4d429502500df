import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds of work between two reads of the sockets. */
const SLICE_MS = 1

/**
 * Calls `work` for each item, in slices of 1 ms between which the event loop serves its sockets and timers.
 *
 * The first slice runs after input that already waits has been read. Of a `Map` or a `Set`, entries that are deleted meanwhile
 * are skipped, and entries that are added are included; `work` MUST NOT add one for each that it gets.
 *
 * @throws (rejects) the first error of `work`; later items are skipped.
 * @example
 * host.every(1000, () => inSlices(sessions, session => session.check()))
 */
export async function inSlices<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
  let end = await nextSlice()
  for (const item of items) {
    work(item)
    // Before the next item is read, since it may be deleted meanwhile.
    if (performance.now() >= end) end = await nextSlice()
  }
}

/** The end of a slice that begins in the next turn of the event loop. */
async function nextSlice(): Promise<number> {
  await nextTurn()
  return performance.now() + SLICE_MS
}
