import { Bucket } from './bucket.ts'

/** A second's worth. */
export interface Rates {
  /** `undefined`: any number. */
  readonly messages: number | undefined
  readonly bytes: number | undefined
}

const ANY = Number.MAX_SAFE_INTEGER

/** What somebody may send: a bucket of messages and one of bytes. */
export class Meter {
  readonly #messages: Bucket
  readonly #bytes: Bucket

  constructor({ messages, bytes }: Rates, now: number) {
    this.#messages = new Bucket(messages ?? ANY, now)
    this.#bytes = new Bucket(bytes ?? ANY, now)
  }

  /** Whether a message of this size is within both limits; if it is not, it costs nothing. */
  take(size: number, now: number): boolean {
    const hasMessage = this.#messages.has(1, now)
    const hasBytes = this.#bytes.has(size, now)
    if (!hasMessage || !hasBytes) return false
    this.#messages.take(1)
    this.#bytes.take(size)
    return true
  }

  isFull(now: number): boolean {
    return this.#messages.isFull(now) && this.#bytes.isFull(now)
  }
}
