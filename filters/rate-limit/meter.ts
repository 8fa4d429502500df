import { Bucket } from './bucket.ts'

/** Limits per second; `undefined` disables one. */
export interface Rates {
  readonly messages: number | undefined
  readonly bytes: number | undefined
}

const UNLIMITED = Number.MAX_SAFE_INTEGER

/** A bucket of messages and a bucket of bytes. */
export class Meter {
  readonly #messages: Bucket
  readonly #bytes: Bucket

  constructor({ messages, bytes }: Rates, now: number) {
    this.#messages = new Bucket(messages ?? UNLIMITED, now)
    this.#bytes = new Bucket(bytes ?? UNLIMITED, now)
  }

  /** Whether a message of this size in bytes is within both limits; consumes it only if so. */
  consume(size: number, now: number): boolean {
    const hasMessage = this.#messages.has(1, now)
    const hasBytes = this.#bytes.has(size, now)
    if (!hasMessage || !hasBytes) return false
    this.#messages.consume(1)
    this.#bytes.consume(size)
    return true
  }

  isFull(now: number): boolean {
    return this.#messages.isFull(now) && this.#bytes.isFull(now)
  }
}
