import { kept } from '../bytes.ts'
import { oversize, violation } from '../fatal.ts'

/** No client counts further than so many digits, and what it announces is kept. */
const KEY = /^wslink_bin\d{1,20}$/
/** Attachments of one client that wait for their bytes, or for the message that they belong to. */
const MAX_WAITING = 16_384

/** Whether a string may be the key of an attachment. */
export function isKey(text: string): boolean {
  return KEY.test(text)
}

/** The bytes that one client has sent ahead of the message that they belong to (wslink, section 1). */
export class Attachments {
  readonly #limit: number
  /** Keys whose bytes are to come, in order. */
  readonly #announced: string[] = []
  readonly #known = new Map<string, Buffer>()
  #bytes = 0
  #touched = 0

  /** @param limit - bytes that may wait in all. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** When the last of those that wait was heard of. */
  get since(): number | undefined {
    return this.#announced.length + this.#known.size === 0 ? undefined : this.#touched
  }

  touch(now: number): void {
    this.#touched = now
  }

  /** @throws Fatal */
  announce(keys: unknown, now: number): void {
    if (!Array.isArray(keys) || !keys.every(key => typeof key === 'string' && isKey(key)))
      throw violation('an attachment is announced by keys such as wslink_bin1')
    if (this.#announced.length + this.#known.size + keys.length > MAX_WAITING)
      throw oversize(`more than ${MAX_WAITING} attachments wait for their message`)
    // A guard may have dropped them: the next bytes must not be taken for theirs.
    if (this.#announced.length > 0) throw violation(`bytes of ${this.#announced[0]} have not come`)
    this.#announced.push(...keys)
    this.#touched = now
  }

  /**
   * The bytes of the key that waits longest for them.
   *
   * @throws Fatal
   */
  add(bytes: Buffer, now: number): void {
    const key = this.#announced.shift()
    if (key === undefined) throw violation('bytes that no attachment was announced for')
    this.#forget(key)
    if (this.#bytes + bytes.length > this.#limit)
      throw oversize(`more than ${this.#limit} bytes of attachments wait for their message`)
    this.#known.set(key, kept(bytes))
    this.#bytes += bytes.length
    this.#touched = now
  }

  /**
   * The value with bytes for every string that is the key of an attachment; those are forgotten then.
   *
   * @throws Fatal
   */
  placeIn<T>(value: T): T {
    if (this.#known.size === 0) return value
    const used = new Set<string>()
    const placed = this.#placed(value, used)
    for (const key of used) this.#forget(key)
    return placed as T
  }

  /** Reading has bounded the depth. */
  #placed(value: unknown, used: Set<string>): unknown {
    if (typeof value === 'string') {
      const bytes = this.#known.get(value)
      if (bytes === undefined) return value
      used.add(value)
      return bytes
    }
    if (Array.isArray(value)) return value.map(item => this.#placed(item, used))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#placed(item, used)]))
  }

  #forget(key: string): void {
    this.#bytes -= this.#known.get(key)?.length ?? 0
    this.#known.delete(key)
  }
}
