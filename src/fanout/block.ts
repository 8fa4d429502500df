import { copyBytes } from '../kit/copy-bytes.ts'

/** As in Node's own pool. A frame of a few bytes keeps as many in memory while it waits for a slow socket. */
export const BLOCK_BYTES = 8192
/** Larger ones get memory of their own: the end of a block that is too short for the next one is lost. */
export const MAX_IN_BLOCK = BLOCK_BYTES / 8

/** The block of the last `reserve`: one for the process, as Node's own pool, since anything may make a frame. */
export let block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
let used = 0

/** Frames of one client that follow each other in a block. */
export class Span {
  /** Number of frames. */
  count = 1
  readonly #block = block
  readonly #start: number
  #end: number

  constructor(start: number, end: number) {
    this.#start = start
    this.#end = end
  }

  get length(): number {
    return this.#end - this.#start
  }

  get bytes(): Buffer {
    return this.#block.subarray(this.#start, this.#end)
  }

  /** Adds a frame of the current block if it directly follows; returns whether it does. */
  extend(start: number, end: number): boolean {
    if (start !== this.#end || this.#block !== block) return false
    this.#end = end
    this.count++
    return true
  }
}

/**
 * Room in the current block, where possible directly behind that of the call before: the frames of a turn are then joined without a
 * copy. Bytes that are kept keep their block: see `compact`.
 *
 * @param length - at most `MAX_IN_BLOCK`.
 * @returns where it starts.
 */
export function reserve(length: number): number {
  if (used + length > BLOCK_BYTES) {
    block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    used = 0
  }
  const start = used
  used += length
  return start
}

/** Memory for a frame, in a block if it is small. */
export function allocate(length: number): Buffer {
  if (length > MAX_IN_BLOCK) return Buffer.allocUnsafeSlow(length)
  const start = reserve(length)
  return block.subarray(start, start + length)
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
  return 2 * bytes.length >= bytes.buffer.byteLength ? bytes : copyBytes(bytes)
}
