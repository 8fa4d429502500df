import { isPromise } from './deadline.ts'
import { FwsError } from './errors.ts'
import type { Awaitable } from './types.ts'

/** Repeats `run` until stopped: one run at a time, errors handed over, the process not kept alive. Answers how to stop. */
export function repeat(ms: number, run: () => Awaitable<void>, onError: (error: unknown) => void): () => void {
  if (!(ms >= 1 && ms < 2 ** 31))
    throw new FwsError('ERR_FILTER', `every() takes 1 to ${2 ** 31 - 1} ms, received ${ms}`)
  let running = false
  const timer = setInterval(() => {
    if (running) return
    try {
      const work = run()
      if (!isPromise(work)) return
      running = true
      work.then(undefined, onError).then(() => {
        running = false
      })
    } catch (error) {
      onError(error)
    }
  }, ms)
  timer.unref()
  return () => clearInterval(timer)
}
