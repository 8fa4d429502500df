/** As many as Node pools: what a frame of a few bytes keeps in memory while it waits for a slow socket. */
export const BLOCK_BYTES = 8192
/** Larger ones get memory of their own: the end of a block that is too short for the next one is lost. */
const MAX_IN_BLOCK = BLOCK_BYTES / 8

let block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
let used = 0

/**
 * Memory for a frame, where possible directly behind that of the call before: the frames of a turn are then joined without a
 * copy. A frame that is kept keeps its block: see `compact`.
 */
export function allocate(length: number): Buffer {
  if (length > MAX_IN_BLOCK) return Buffer.allocUnsafeSlow(length)
  if (used + length > BLOCK_BYTES) {
    block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    used = 0
  }
  const start = used
  used += length
  return block.subarray(start, used)
}

/** The parts in one piece; without a copy if each begins where the one before ends. */
export function join(parts: readonly Buffer[], length: number): Buffer {
  const first = parts[0]!
  if (parts.length === 1) return first
  const { buffer } = first
  let end = first.byteOffset
  for (const part of parts) {
    if (part.length === 0) continue
    if (part.buffer !== buffer || part.byteOffset !== end) return Buffer.concat(parts, length)
    end += part.length
  }
  return Buffer.from(buffer, first.byteOffset, length)
}

/** The bytes in memory that is at most twice as large: for bytes that are kept. */
export function compact(bytes: Buffer): Buffer {
  if (2 * bytes.length >= bytes.buffer.byteLength) return bytes
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}
