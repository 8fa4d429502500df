import type { ChainObserver, HandlerCall } from '../contract/observer.ts'

/** The observers of the chains of one server. */
export class Observers {
  /** Chains measure and describe their calls only while this is true. */
  isOn = false
  readonly #report: (error: unknown, call: HandlerCall) => void
  readonly #observers = new Set<{ readonly notify: ChainObserver }>()

  /** @param report - receives the errors of observers. */
  constructor(report: (error: unknown, call: HandlerCall) => void) {
    this.#report = report
  }

  /** Returns a function that removes the observer; a second call has no effect. */
  add(notify: ChainObserver): () => void {
    const observer = { notify }
    this.#observers.add(observer)
    this.isOn = true
    return () => {
      this.#observers.delete(observer)
      this.isOn = this.#observers.size > 0
    }
  }

  /** Never throws. */
  notify(call: HandlerCall): void {
    for (const { notify } of this.#observers) {
      try {
        notify(call)
      } catch (error) {
        this.#report(error, call)
      }
    }
  }
}
