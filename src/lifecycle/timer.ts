import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { FwsError } from '../contract/errors.ts'

/**
 * Repeats `run` until stopped: one run at a time, errors handed over, the process not kept alive. Answers how to stop.
 *
 * @param limit - what a run's promise is awaited through, so that one that never settles does not end the repeating.
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
