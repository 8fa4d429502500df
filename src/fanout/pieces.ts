/** Bytes from which on handing a part to the system as it is costs less than copying it. */
const LARGE = 16_384

/** Finished frames whose large parts are somebody's own bytes, not a copy of them. */
export class Pieces {
  readonly pieces: readonly Buffer[]
  /** Bytes in all. */
  readonly length: number

  /** @param parts - in order; small neighbours are joined. */
  constructor(parts: readonly Uint8Array[]) {
    const pieces: Buffer[] = []
    let small: Uint8Array[] = []
    const join = () => {
      if (small.length > 0) pieces.push(Buffer.concat(small))
      small = []
    }
    for (const part of parts) {
      if (part.length < LARGE) {
        small.push(part)
        continue
      }
      join()
      pieces.push(Buffer.isBuffer(part) ? part : Buffer.from(part.buffer, part.byteOffset, part.length))
    }
    join()
    this.pieces = pieces
    this.length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  }

  /** Whether parts of so many bytes are worth it. */
  static isFor(bytes: number): boolean {
    return bytes >= LARGE
  }
}
