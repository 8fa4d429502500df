import { setTimeout as sleep } from 'node:timers/promises'

/** Pause after a read, in durations of the read, and at most in milliseconds: a flood of reads takes a quarter of the time. */
const PAUSE = 3
const MAX_PAUSE_MS = 1000

/** A read that its callers share: one that comes during a read gets the result of the next one, which begins after that. */
export class SharedRead<T> {
  readonly #read: () => Promise<T>
  #current: Promise<T> | undefined
  #next: Promise<T> | undefined
  /** Time from which on the next read may begin. */
  #freeAt = 0

  constructor(read: () => Promise<T>) {
    this.#read = read
  }

  get isRunning(): boolean {
    return this.#current !== undefined
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
