import type { Awaitable } from 'filtered-websocket'
import { isPromise } from './work.ts'

/**
 * What a storage answers, or a rejection after so many milliseconds; a late answer is ignored.
 *
 * @throws (rejects) Error
 */
export function within<T>(answer: Awaitable<T>, ms: number): Promise<T> {
  if (!isPromise(answer)) return Promise.resolve(answer)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the storage has not answered within ${ms / 1000} s`)), ms)
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
