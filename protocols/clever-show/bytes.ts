/** Functions on bytes. Node's `Buffer` implements them, faster than `webBytes`. */
export interface Bytes<B extends Uint8Array = Uint8Array> {
  /** Bytes of a string as UTF-8. */
  byteLength(text: string): number
  /** A string as UTF-8. */
  from(text: string): B
  concat(pieces: readonly Uint8Array[]): B
}

/** Functions of every platform. */
export const webBytes: Bytes<Uint8Array<ArrayBuffer>> = {
  byteLength: text => (/[^\0-\x7f]/.test(text) ? webBytes.from(text).length : text.length),
  from: text => new TextEncoder().encode(text),
  concat(pieces) {
    let length = 0
    for (const piece of pieces) length += piece.length
    const joined = new Uint8Array(length)
    let end = 0
    for (const piece of pieces) {
      joined.set(piece, end)
      end += piece.length
    }
    return joined
  },
}
