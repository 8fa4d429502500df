import { BoundedMap } from 'filtered-websocket/kit'
import { Bucket, MAX_BUCKETS } from './bucket.ts'

/** Limits per second; `undefined` disables one. */
export interface Rates {
  readonly messages: number | undefined
  readonly bytes: number | undefined
}

/** A refusal, with the time to wait. */
export interface Wait {
  readonly reason: string
  readonly seconds: number
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

  /** Consumes a message of this size in bytes, or returns its refusal for this reason. */
  waitFor(size: number, now: number, reason: string): Wait | undefined {
    if (this.consume(size, now)) return undefined
    return { reason, seconds: Math.max(this.#messages.secondsUntil(1), this.#bytes.secondsUntil(size)) }
  }

  isFull(now: number): boolean {
    return this.#messages.isFull(now) && this.#bytes.isFull(now)
  }
}

/** A meter for each network or identity. */
export class Meters {
  readonly #rates: Rates
  readonly #meters = new BoundedMap<string, Meter>(MAX_BUCKETS)

  constructor(rates: Rates) {
    this.#rates = rates
  }

  /** `undefined` without limits. */
  of(key: string, now: number): Meter | undefined {
    const { messages, bytes } = this.#rates
    if (messages === undefined && bytes === undefined) return undefined
    return this.#meters.use(key, () => new Meter(this.#rates, now))
  }

  sweep(now: number): Promise<void> | undefined {
    return this.#meters.deleteWhere(meter => meter.isFull(now))
  }
}
