/** A string, or bytes. */
export type Sendable = string | ArrayBuffer | Uint8Array

/** Messages that wait for a connection, in order, within a number of messages and of bytes. */
export function queueOf(maxMessages: number, maxBytes: number) {
  let messages: Sendable[] = []
  let bytes = 0
  return {
    get length(): number {
      return messages.length
    },
    /** @returns `false`: the queue is full. */
    add(data: Sendable): boolean {
      const size = sizeOf(data)
      if (messages.length >= maxMessages || bytes + size > maxBytes) return false
      messages.push(data)
      bytes += size
      return true
    },
    /** Removes all messages and returns them. */
    drain(): readonly Sendable[] {
      const drained = messages
      messages = []
      bytes = 0
      return drained
    },
  }
}

/** Bytes; for a string the upper bound of its UTF-8, three for each UTF-16 unit. */
export function sizeOf(data: Sendable): number {
  return typeof data === 'string' ? data.length * 3 : data.byteLength
}
