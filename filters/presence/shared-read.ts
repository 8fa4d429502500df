import { setTimeout as sleep } from 'node:timers/promises'

/** Pause after a read: three times its duration, so that a flood of reads takes a quarter of the time; at most in milliseconds. */
const PAUSE = 3
const MAX_PAUSE_MS = 1000

/** A read that its callers share: a call during a read gets the result of the next read, which begins after this one. */
export class SharedRead<T> {
  readonly #read: () => Promise<T>
  #current: Promise<T> | undefined
  #next: Promise<T> | undefined
  /** Time of the earliest next read. */
  #freeAt = 0

  constructor(read: () => Promise<T>) {
    this.#read = read
  }

  /** Whether a read runs or waits, or the pause after one is not over. */
  get isBusy(): boolean {
    return this.#current !== undefined || this.#next !== undefined || performance.now() < this.#freeAt
  }

  run(): Promise<T> {
    if (this.#current === undefined && performance.now() >= this.#freeAt) return this.#begin()
    this.#next ??= this.#beginLater(this.#current)
    return this.#next
  }

  async #beginLater(current: Promise<T> | undefined): Promise<T> {
    await current?.catch(() => {})
    const pause = this.#freeAt - performance.now()
    if (pause > 0) await sleep(pause)
    return this.#begin()
  }

  #begin(): Promise<T> {
    this.#next = undefined
    const since = performance.now()
    const reading = this.#read()
    this.#current = reading
    const end = () => {
      this.#current = undefined
      const now = performance.now()
      this.#freeAt = now + Math.min(MAX_PAUSE_MS, PAUSE * (now - since))
    }
    reading.then(end, end)
    return reading
  }
}
