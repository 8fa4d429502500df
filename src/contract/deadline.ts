import { FwsError } from './errors.ts'

export type Awaitable<T> = T | PromiseLike<T>

/**
 * Whether a value is a promise of any library or realm.
 *
 * @example
 * return isPromise(verdict) ? verdict.then(settle) : settle(verdict)
 */
export function isPromise<T>(value: Awaitable<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** Waits with a deadline; `release` stops them from keeping the process alive. */
export class Deadlines {
  readonly #timers = new Set<NodeJS.Timeout>()
  #released = false

  /**
   * Settles as `work` does, or rejects with `ERR_TIMEOUT` after `ms`; a later result is ignored.
   *
   * @param ms - 0 disables the deadline.
   * @param what - subject of the error: `WHAT did not settle within N s`.
   */
  wait<T>(work: Awaitable<T>, ms: number, what: string): Promise<T> {
    if (ms === 0) return Promise.resolve(work)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        reject(new FwsError('ERR_TIMEOUT', `${what} did not settle within ${ms / 1000} s`))
      }, ms)
      this.#timers.add(timer)
      if (this.#released) timer.unref()
      const done = () => {
        clearTimeout(timer)
        this.#timers.delete(timer)
      }
      Promise.resolve(work).then(
        value => {
          done()
          resolve(value)
        },
        error => {
          done()
          reject(error)
        },
      )
    })
  }

  /** From now on no wait keeps the process alive. */
  release(): void {
    this.#released = true
    for (const timer of this.#timers) timer.unref()
  }
}

/** Settles as `work` does, or rejects with the signal's reason on abort; a later result is ignored. */
export function unlessAborted<T>(work: Awaitable<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(work)
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    Promise.resolve(work)
      .finally(() => signal.removeEventListener('abort', abort))
      .then(resolve, reject)
  })
}

/**
 * Settles as `work` does, or rejects with `ERR_TIMEOUT` after `ms` milliseconds; a later result is ignored.
 *
 * @param what - named in the error: `WHAT did not settle within N s`.
 * @example
 * const user = await withDeadline(database.find(id), 5000, 'the database')
 */
export function withDeadline<T>(work: Awaitable<T>, ms: number, what: string): Promise<T> {
  return new Deadlines().wait(work, ms, what)
}
