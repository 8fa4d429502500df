/** Bytes before those of the message: its id, where the chunk belongs in it, its length (wslink, section 2.1). */
export const HEAD_BYTES = 12
/** What the length field can say. */
const MAX_TOTAL = 2 ** 32 - 1

/** What a chunk tells of its message; little-endian. */
export interface Head {
  readonly id: number
  /** Offset of the chunk's bytes. */
  readonly at: number
  /** Bytes of the whole message. */
  readonly total: number
}

export function readHead(chunk: Buffer): Head {
  return { id: chunk.readUInt32LE(0), at: chunk.readUInt32LE(4), total: chunk.readUInt32LE(8) }
}

function writeHead({ id, at, total }: Head): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  head.writeUInt32LE(id, 0)
  head.writeUInt32LE(at, 4)
  head.writeUInt32LE(total, 8)
  return head
}

/**
 * A message in chunks, each in parts that are not copied here.
 *
 * @param maxFrame - bytes of a chunk with its head; at least one byte of the message is in each.
 * @throws RangeError for 4 GiB and more.
 */
export function chunksOf(
  message: readonly Uint8Array[],
  maxFrame: number,
  id: number,
): readonly (readonly Uint8Array[])[] {
  const total = message.reduce((sum, part) => sum + part.length, 0)
  if (total > MAX_TOTAL) throw new RangeError(`a message has at most ${MAX_TOTAL} bytes, received ${total}`)
  const room = Math.max(maxFrame - HEAD_BYTES, 1)
  const chunks: Uint8Array[][] = []
  let at = 0
  for (const part of message) {
    for (let from = 0; from < part.length; ) {
      const used = at % room
      if (used === 0) chunks.push([writeHead({ id, at, total })])
      const piece = part.subarray(from, from + room - used)
      chunks.at(-1)!.push(piece)
      from += piece.length
      at += piece.length
    }
  }
  return chunks
}
