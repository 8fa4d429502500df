/** Bytes of a chunk's header: message id, offset, length of the message (wslink, section 2.1). */
export const HEADER_BYTES = 12
/** Maximum of the length field. */
const MAX_TOTAL = 2 ** 32 - 1

/** Header of a chunk, little-endian. */
export interface Header {
  readonly id: number
  /** Offset of the chunk's bytes. */
  readonly at: number
  /** Bytes of the message. */
  readonly total: number
}

export function readHeader(chunk: Buffer): Header {
  return { id: chunk.readUInt32LE(0), at: chunk.readUInt32LE(4), total: chunk.readUInt32LE(8) }
}

function writeHeader({ id, at, total }: Header): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header.writeUInt32LE(id, 0)
  header.writeUInt32LE(at, 4)
  header.writeUInt32LE(total, 8)
  return header
}

/**
 * Splits a message into chunks, each an array of parts that are not copied.
 *
 * @param maxFrame - maximum bytes of a chunk with its header; a chunk has at least one byte of the message.
 * @throws RangeError from 4 GiB.
 */
export function chunksOf(
  message: readonly Uint8Array[],
  maxFrame: number,
  id: number,
): readonly (readonly Uint8Array[])[] {
  const total = message.reduce((sum, part) => sum + part.length, 0)
  if (total > MAX_TOTAL) throw new RangeError(`a message has at most ${MAX_TOTAL} bytes, received ${total}`)
  const room = Math.max(maxFrame - HEADER_BYTES, 1)
  const chunks: Uint8Array[][] = []
  let at = 0
  for (const part of message) {
    for (let from = 0; from < part.length; ) {
      const used = at % room
      if (used === 0) chunks.push([writeHeader({ id, at, total })])
      const piece = part.subarray(from, from + room - used)
      chunks.at(-1)!.push(piece)
      from += piece.length
      at += piece.length
    }
  }
  return chunks
}
