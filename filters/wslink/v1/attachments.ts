import { detached } from '../bytes.ts'
import { oversize, violation } from '../protocol-error.ts'

/** Bounded, since announced keys are stored. */
const KEY = /^wslink_bin\d{1,20}$/
/** Pending attachments of a client: without bytes, or without their message. */
const MAX_PENDING = 16_384

/** Whether a string may be the key of an attachment. */
export function isKey(text: string): boolean {
  return KEY.test(text)
}

/** Attachments that a client sends before their message (wslink, section 1). */
export class Attachments {
  readonly #limit: number
  /** Keys that wait for their bytes, in order. */
  readonly #announced: string[] = []
  readonly #received = new Map<string, Buffer>()
  #bytes = 0
  #touched = 0

  /** @param limit - total bytes of pending attachments. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Time of the last event of a pending attachment; `undefined` if there is none. */
  get since(): number | undefined {
    return this.#announced.length + this.#received.size === 0 ? undefined : this.#touched
  }

  touch(now: number): void {
    this.#touched = now
  }

  /** @throws ProtocolError */
  announce(keys: unknown, now: number): void {
    if (!Array.isArray(keys) || !keys.every(key => typeof key === 'string' && isKey(key)))
      throw violation('the keys of attachments must have the form wslink_bin1')
    if (this.#announced.length + this.#received.size + keys.length > MAX_PENDING)
      throw oversize(`more than ${MAX_PENDING} pending attachments`)
    // If a guard dropped them, the next bytes must not be used instead.
    if (this.#announced.length > 0) throw violation(`the bytes of ${this.#announced[0]} are missing`)
    this.#announced.push(...keys)
    this.#touched = now
  }

  /**
   * Stores bytes under the oldest announced key.
   *
   * @throws ProtocolError
   */
  add(bytes: Buffer, now: number): void {
    const key = this.#announced.shift()
    if (key === undefined) throw violation('bytes without an announced attachment')
    this.#delete(key)
    if (this.#bytes + bytes.length > this.#limit)
      throw oversize(`more than ${this.#limit} bytes of pending attachments`)
    this.#received.set(key, detached(bytes))
    this.#bytes += bytes.length
    this.#touched = now
  }

  /**
   * Replaces strings that are keys of attachments by their bytes, and deletes those attachments.
   *
   * @throws ProtocolError
   */
  resolve<T>(value: T): T {
    if (this.#received.size === 0) return value
    const used = new Set<string>()
    const resolved = this.#resolved(value, used)
    for (const key of used) this.#delete(key)
    return resolved as T
  }

  /** The parser has bounded the depth. */
  #resolved(value: unknown, used: Set<string>): unknown {
    if (typeof value === 'string') {
      const bytes = this.#received.get(value)
      if (bytes === undefined) return value
      used.add(value)
      return bytes
    }
    if (Array.isArray(value)) return value.map(item => this.#resolved(item, used))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#resolved(item, used)]))
  }

  #delete(key: string): void {
    this.#bytes -= this.#received.get(key)?.length ?? 0
    this.#received.delete(key)
  }
}
