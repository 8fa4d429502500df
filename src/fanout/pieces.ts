import { join } from './block.ts'

/** Bytes from which a separate write costs less than a copy. */
export const COPY_BELOW = 16_384

/** Copies adjacent parts below `small` bytes together, into parts of at most `most` bytes. Larger parts are not copied. */
export function joinSmall(parts: readonly Uint8Array[], small: number, most: number): Buffer[] {
  const joined: Buffer[] = []
  let waiting: Buffer[] = []
  let bytes = 0
  const end = () => {
    if (waiting.length > 0) joined.push(join(waiting, bytes))
    waiting = []
    bytes = 0
  }
  for (const part of parts) {
    const isLarge = part.length >= small
    if (isLarge || bytes + part.length > most) end()
    const buffer = Buffer.isBuffer(part) ? part : Buffer.from(part.buffer, part.byteOffset, part.length)
    if (isLarge) joined.push(buffer)
    else {
      waiting.push(buffer)
      bytes += part.length
    }
  }
  end()
  return joined
}

/** Frames whose large parts are not copied and MUST NOT be changed. */
export class Pieces {
  readonly pieces: readonly Buffer[]
  /** Total bytes. */
  readonly length: number

  constructor(parts: readonly Uint8Array[]) {
    this.pieces = joinSmall(parts, COPY_BELOW, Number.POSITIVE_INFINITY)
    this.length = this.pieces.reduce((sum, piece) => sum + piece.length, 0)
  }
}
