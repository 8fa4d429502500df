/** Milliseconds: where writing takes less, nothing ever waits. */
const CHEAP = 0.2
/** Shares of what the last writing took: how long messages wait in all, and how long for one more that does not come. */
const PATIENCE = 1 / 8
const QUIET = 1 / 32
/** Writings without a wait after a wait that brought nothing. */
const REST = 16
/** Milliseconds that nothing waits longer than, however long the last writing took. */
const LONGEST = 5

/**
 * When to write what has been collected: at once, unless messages come faster than they can be written out one by one.
 * Then those that come just after a writing has begun would have the next one to themselves; a short wait, at most an
 * eighth of what the last writing took, lets them share it with those that follow.
 */
export class Pace {
  /** The last writing: when it began and ended, and the milliseconds that it took. */
  #began = 0
  #ended = 0
  #took = 0
  #resting = 0
  #isWaiting = false
  /** Since when messages wait, how many had been sent by then, how many by now, and since when no more. */
  #since = 0
  #sentFirst = 0
  #sentLast = 0
  #lastAt = 0
  readonly #now: () => number

  /** @param now - milliseconds of a clock that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * Whether to wait for another turn of the event loop.
   *
   * @param sent - messages so far, written or not.
   */
  waits(sent: number): boolean {
    if (this.#took < CHEAP || this.#resting > 0) return false
    const now = this.#now()
    if (!this.#isWaiting) {
      if (now - this.#ended > this.#took) return false
      this.#isWaiting = true
      this.#since = this.#lastAt = now
      this.#sentFirst = this.#sentLast = sent
      return true
    }
    if (sent > this.#sentLast) {
      this.#sentLast = sent
      this.#lastAt = now
    }
    if (now - this.#since < Math.min(this.#took * PATIENCE, LONGEST) && now - this.#lastAt < this.#took * QUIET)
      return true
    if (this.#sentLast === this.#sentFirst) this.#resting = REST + 1
    return false
  }

  /** Before a writing. */
  begin(): void {
    this.#began = this.#now()
  }

  /** After it. */
  end(): void {
    this.#ended = this.#now()
    this.#took = this.#ended - this.#began
    if (this.#resting > 0) this.#resting--
    this.#isWaiting = false
  }
}
