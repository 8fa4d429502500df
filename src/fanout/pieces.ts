/** Bytes from which on handing a part to the system costs less than copying it. */
export const COPY_BELOW = 16_384

/**
 * The same bytes in fewer parts: neighbours below `small` bytes are copied together, to parts of at most `most` bytes. Larger
 * parts are passed on without a copy.
 */
export function joinSmall(parts: readonly Uint8Array[], small: number, most: number): Buffer[] {
  const joined: Buffer[] = []
  let waiting: Uint8Array[] = []
  let bytes = 0
  const join = () => {
    if (waiting.length > 0) joined.push(Buffer.concat(waiting, bytes))
    waiting = []
    bytes = 0
  }
  for (const part of parts) {
    const isLarge = part.length >= small
    if (isLarge || bytes + part.length > most) join()
    if (isLarge) {
      joined.push(Buffer.isBuffer(part) ? part : Buffer.from(part.buffer, part.byteOffset, part.length))
    } else {
      waiting.push(part)
      bytes += part.length
    }
  }
  join()
  return joined
}

/** Finished frames whose large parts are not copied: their owner must not change them any more. */
export class Pieces {
  readonly pieces: readonly Buffer[]
  /** Bytes in all. */
  readonly length: number

  /** @param parts - in order. */
  constructor(parts: readonly Uint8Array[]) {
    this.pieces = joinSmall(parts, COPY_BELOW, Number.POSITIVE_INFINITY)
    this.length = this.pieces.reduce((sum, piece) => sum + piece.length, 0)
  }
}
