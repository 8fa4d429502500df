import type { Awaitable } from 'filtered-websocket'
import { isPromise, withDeadline } from 'filtered-websocket/kit'

/** Milliseconds for an answer of the storage; a storage may fail sooner. */
const TIMEOUT = 10_000

/** The answer of the storage, or a rejection when it takes too long; a late answer is ignored. */
export function within<T>(answer: Awaitable<T>): Promise<T> {
  return isPromise(answer) ? withDeadline(answer, TIMEOUT, 'the storage') : Promise.resolve(answer)
}
