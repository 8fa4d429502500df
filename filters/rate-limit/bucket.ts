/** Buckets of each kind, of the networks or identities used last: an attacker with more addresses is not stopped by counting them. */
export const MAX_BUCKETS = 100_000

/** A token bucket: so much a second, and so much at once. Times are in milliseconds. */
export class Bucket {
  readonly #size: number
  #left: number
  #filledAt: number

  constructor(size: number, now: number) {
    this.#size = size
    this.#left = size
    this.#filledAt = now
  }

  /** Whether there is so much. More than a bucket holds is there when it is full, and is paid for afterwards. */
  has(amount: number, now: number): boolean {
    if (now !== this.#filledAt) this.#fill(now)
    return this.#left >= Math.min(amount, this.#size)
  }

  take(amount: number): void {
    this.#left -= amount
  }

  isFull(now: number): boolean {
    return this.has(this.#size, now)
  }

  /** Whole seconds, at least one, after which `has` will be true. */
  secondsUntil(amount: number): number {
    return Math.max(1, Math.ceil((amount - this.#left) / this.#size))
  }

  #fill(now: number): void {
    // A clock may be set back.
    const seconds = Math.max(0, now - this.#filledAt) / 1000
    this.#filledAt = now
    this.#left = Math.min(this.#size, this.#left + seconds * this.#size)
  }
}
