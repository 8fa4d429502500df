/** What can be sent: text, or bytes. */
export type Sendable = string | ArrayBuffer | Uint8Array

/** Messages that wait for a connection, in order, up to a number of messages and of bytes. */
export class Queue {
  readonly #maxMessages: number
  readonly #maxBytes: number
  #waiting: Sendable[] = []
  #bytes = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get length(): number {
    return this.#waiting.length
  }

  /** Answers whether there was room. */
  add(data: Sendable): boolean {
    const size = sizeOf(data)
    if (this.#waiting.length >= this.#maxMessages || this.#bytes + size > this.#maxBytes) return false
    this.#waiting.push(data)
    this.#bytes += size
    return true
  }

  /** Everything that waits; then nothing does. */
  take(): readonly Sendable[] {
    const taken = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return taken
  }
}

/** Bytes, of a text at most three for each of its UTF-16 units. */
export function sizeOf(data: Sendable): number {
  return typeof data === 'string' ? data.length * 3 : data.byteLength
}
