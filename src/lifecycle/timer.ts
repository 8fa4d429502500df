import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { FwsError } from '../contract/errors.ts'

/**
 * Repeats `run` every `ms` milliseconds, one run at a time, without keeping the process alive. Returns the function that stops it.
 *
 * @param limit - adds a deadline to the promise of a run: one that never settles must not end the repetition.
 */
export function repeat(
  ms: number,
  run: () => Awaitable<void>,
  limit: (work: PromiseLike<unknown>) => Promise<unknown>,
  onError: (error: unknown) => void,
): () => void {
  if (!(ms >= 1 && ms < 2 ** 31)) {
    throw new FwsError('ERR_FILTER', `every() takes 1 to ${2 ** 31 - 1} ms, received ${ms}`)
  }
  let running = false
  const timer = setInterval(() => {
    if (running) return
    try {
      const work = run()
      if (!isPromise(work)) return
      running = true
      limit(work)
        .catch(onError)
        .then(() => {
          running = false
        })
    } catch (error) {
      onError(error)
    }
  }, ms)
  timer.unref()
  return () => clearInterval(timer)
}
