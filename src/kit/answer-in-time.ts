import { type Awaitable, isPromise, withDeadline } from '../contract/deadline.ts'

/** Milliseconds for an answer of the storage; a storage may fail sooner. */
const TIMEOUT = 10_000

/** The answer of the storage, or a rejection after 10 seconds; a later answer is ignored. */
export function answerInTime<T>(answer: Awaitable<T>): Promise<T> {
  return isPromise(answer) ? withDeadline(answer, TIMEOUT, 'the storage') : Promise.resolve(answer)
}
