import { detached } from '../bytes.ts'
import { oversize, violation } from '../protocol-error.ts'
import { HEADER_BYTES, readHeader } from './chunks.ts'

/** Chunks of unfinished messages: at most `MIN_CHUNKS` plus one per `BYTES_PER_CHUNK`, since each costs about 300 bytes more. */
const MAX_CHUNKS = 16_384
const MIN_CHUNKS = 16
const BYTES_PER_CHUNK = 64

interface Piece {
  readonly at: number
  readonly bytes: Buffer
}

interface Unfinished {
  readonly total: number
  received: number
  /** Sorted by offset, without overlaps. */
  readonly pieces: Piece[]
  /** Time of its last chunk. */
  touched: number
}

/**
 * Assembles the messages of a client from chunks in any order, also interleaved. Allocates received bytes, not announced ones.
 */
export class Assembler {
  /** Maximum bytes of a message, and of all unfinished messages. */
  limit: number
  readonly #unfinished = new Map<number, Unfinished>()
  #bytes = 0
  #chunks = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** Time of the last chunk of the longest idle message, on the clock of `add`. */
  get since(): number | undefined {
    let since: number | undefined
    for (const { touched } of this.#unfinished.values()) if (since === undefined || touched < since) since = touched
    return since
  }

  /** Restarts the idle time: the client could not continue before. */
  touch(now: number): void {
    for (const message of this.#unfinished.values()) message.touched = now
  }

  /**
   * Adds a chunk, and returns its message if that is complete.
   *
   * @param now - milliseconds, on any clock.
   * @throws ProtocolError
   */
  add(chunk: Buffer, now: number): Buffer | undefined {
    if (chunk.length < HEADER_BYTES)
      throw violation(`a chunk has at least ${HEADER_BYTES} bytes, received ${chunk.length}`)
    const { id, at, total } = readHeader(chunk)
    const bytes = chunk.subarray(HEADER_BYTES)
    if (total === 0) throw violation('a message has at least 1 byte, announced 0')
    if (total > this.limit) throw oversize(`a message has at most ${this.limit} bytes, announced ${total}`)
    if (bytes.length === 0) throw violation('a chunk without bytes of its message')
    if (at + bytes.length > total) throw violation(`a chunk ends at byte ${at + bytes.length} of ${total}`)
    const found = this.#unfinished.get(id)
    if (found === undefined && bytes.length === total) return bytes
    const message = found ?? { total, received: 0, pieces: [], touched: now }
    if (message.total !== total) throw violation(`chunks of a message announce ${message.total} and ${total} bytes`)
    this.#insert(message, at, bytes)
    message.touched = now
    if (message.received < total) {
      this.#unfinished.set(id, message)
      return undefined
    }
    this.#unfinished.delete(id)
    this.#bytes -= total
    this.#chunks -= message.pieces.length
    // Complete: without overlaps there are no gaps.
    return Buffer.concat(
      message.pieces.map(piece => piece.bytes),
      total,
    )
  }

  #insert(message: Unfinished, at: number, bytes: Buffer): void {
    if (this.#bytes + bytes.length > this.limit) throw oversize(`more than ${this.limit} bytes of unfinished messages`)
    const maxChunks = Math.min(MAX_CHUNKS, MIN_CHUNKS + Math.floor(this.limit / BYTES_PER_CHUNK))
    if (this.#chunks >= maxChunks) throw oversize(`more than ${maxChunks} chunks of unfinished messages`)
    const { pieces } = message
    const index = indexOf(at, pieces)
    const before = pieces[index - 1]
    const after = pieces[index]
    const overlaps =
      (before !== undefined && before.at + before.bytes.length > at) ||
      (after !== undefined && at + bytes.length > after.at)
    if (overlaps) throw violation(`two chunks of a message overlap at byte ${at}`)
    pieces.splice(index, 0, { at, bytes: detached(bytes) })
    message.received += bytes.length
    this.#bytes += bytes.length
    this.#chunks++
  }
}

/** Index of the first piece at or after this offset; mostly the end. */
function indexOf(at: number, pieces: readonly Piece[]): number {
  let low = 0
  let high = pieces.length
  if (high === 0 || pieces[high - 1]!.at < at) return high
  while (low < high) {
    const middle = (low + high) >> 1
    if (pieces[middle]!.at < at) low = middle + 1
    else high = middle
  }
  return low
}
