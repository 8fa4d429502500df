import type { Awaitable } from 'filtered-websocket'
import { isPromise } from 'filtered-websocket/kit'

/** Milliseconds that a storage has for an answer; one that knows better fails sooner. */
const TIMEOUT = 10_000

/**
 * What a storage answers, or a rejection when it takes too long; a late answer is ignored.
 *
 * @throws (rejects) Error
 */
export function within<T>(answer: Awaitable<T>): Promise<T> {
  if (!isPromise(answer)) return Promise.resolve(answer)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the storage has not answered within ${TIMEOUT / 1000} s`)),
      TIMEOUT,
    )
    const settle = (then: () => void) => {
      clearTimeout(timer)
      then()
    }
    answer.then(
      value => settle(() => resolve(value)),
      error => settle(() => reject(error)),
    )
  })
}
