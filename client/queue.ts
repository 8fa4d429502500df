/** A string, or bytes. */
export type Sendable = string | ArrayBuffer | Uint8Array

/** Messages that wait for a connection, in order, within a number of messages and of bytes. */
export class Queue {
  readonly #maxMessages: number
  readonly #maxBytes: number
  #messages: Sendable[] = []
  #bytes = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get length(): number {
    return this.#messages.length
  }

  /** @returns `false`: the queue is full. */
  add(data: Sendable): boolean {
    const size = sizeOf(data)
    if (this.#messages.length >= this.#maxMessages || this.#bytes + size > this.#maxBytes) return false
    this.#messages.push(data)
    this.#bytes += size
    return true
  }

  /** Removes all messages and returns them. */
  drain(): readonly Sendable[] {
    const messages = this.#messages
    this.#messages = []
    this.#bytes = 0
    return messages
  }
}

/** Bytes; for a string the upper bound of its UTF-8, three for each UTF-16 unit. */
export function sizeOf(data: Sendable): number {
  return typeof data === 'string' ? data.length * 3 : data.byteLength
}
