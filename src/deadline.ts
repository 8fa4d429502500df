import { FwsError } from './errors.ts'
import type { Awaitable } from './types.ts'

/** Whether this is a promise, of whatever library or realm. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/**
 * What `work` settles to, or a rejection with `ERR_TIMEOUT` after `ms`, whichever comes first; a late result is ignored.
 *
 * @param ms - 0: wait for ever.
 * @param what - named in the error: `WHAT did not settle within N s`.
 */
export function withDeadline<T>(work: Awaitable<T>, ms: number, what: string): Promise<T> {
  if (ms === 0) return Promise.resolve(work)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new FwsError('ERR_TIMEOUT', `${what} did not settle within ${ms / 1000} s`))
    }, ms)
    Promise.resolve(work).then(
      value => {
        clearTimeout(timer)
        resolve(value)
      },
      error => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
