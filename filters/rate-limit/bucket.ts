/** Buckets per map, the most recently used. Limits per address do not stop an attacker with more addresses. */
export const MAX_BUCKETS = 100_000

/** A token bucket that holds one second's worth of tokens. Times are in milliseconds. */
export class Bucket {
  /** Capacity, and tokens added per second. */
  readonly #size: number
  #tokens: number
  #filledAt: number

  constructor(size: number, now: number) {
    this.#size = size
    this.#tokens = size
    this.#filledAt = now
  }

  /** Whether this amount may be consumed. A full bucket allows more than its size and then goes negative. */
  has(amount: number, now: number): boolean {
    if (now !== this.#filledAt) this.#fill(now)
    return this.#tokens >= Math.min(amount, this.#size)
  }

  consume(amount: number): void {
    this.#tokens -= amount
  }

  isFull(now: number): boolean {
    return this.has(this.#size, now)
  }

  /** Whole seconds, at least 1, until `has` is true. */
  secondsUntil(amount: number): number {
    return Math.max(1, Math.ceil((Math.min(amount, this.#size) - this.#tokens) / this.#size))
  }

  #fill(now: number): void {
    // The system clock may be set back.
    const seconds = Math.max(0, now - this.#filledAt) / 1000
    this.#filledAt = now
    this.#tokens = Math.min(this.#size, this.#tokens + seconds * this.#size)
  }
}
