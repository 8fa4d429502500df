/** Milliseconds: after a shorter flush messages never wait. */
const MIN_FLUSH_MS = 0.2
/** Shares of the duration of the last flush: the longest wait, and the longest wait for one more message. */
const WAIT_SHARE = 1 / 8
const IDLE_SHARE = 1 / 32
/** Flushes without a wait after a wait in which no message was sent. */
const PAUSE = 16
/** Upper bound of a wait in milliseconds. */
const MAX_WAIT_MS = 5

/**
 * Decides when to flush: immediately, unless messages arrive faster than single flushes can write them. Then messages sent
 * just after the start of a flush would cause one of their own; a short wait, at most an eighth of the last flush, joins
 * them with those that follow.
 */
export class FlushPolicy {
  /** Start, end and duration of the last flush. */
  #began = 0
  #ended = 0
  #took = 0
  /** Flushes that do not wait. */
  #pausing = 0
  #isWaiting = false
  /** Start of the wait, messages sent at its start and by now, and time of the last one. */
  #since = 0
  #sentFirst = 0
  #sentLast = 0
  #lastAt = 0
  readonly #now: () => number

  /** @param now - monotonic clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * Whether to wait for another turn of the event loop.
   *
   * @param sent - messages sent so far, written or queued.
   */
  shouldWait(sent: number): boolean {
    if (this.#took < MIN_FLUSH_MS || this.#pausing > 0) return false
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
    const maxWait = Math.min(this.#took * WAIT_SHARE, MAX_WAIT_MS)
    if (now - this.#since < maxWait && now - this.#lastAt < this.#took * IDLE_SHARE) return true
    if (this.#sentLast === this.#sentFirst) this.#pausing = PAUSE + 1
    return false
  }

  /** Called before a flush. */
  begin(): void {
    this.#began = this.#now()
  }

  /** Called after a flush. */
  end(): void {
    this.#ended = this.#now()
    this.#took = this.#ended - this.#began
    if (this.#pausing > 0) this.#pausing--
    this.#isWaiting = false
  }
}
