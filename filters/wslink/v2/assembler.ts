import { kept } from '../bytes.ts'
import { oversize, violation } from '../fatal.ts'
import { HEAD_BYTES, readHead } from './chunks.ts'

/** Chunks of unfinished messages that are kept: each costs some 300 bytes beside its own, and official ones are large. */
const MAX_CHUNKS = 16_384
const FEW_CHUNKS = 16
const BYTES_OF_MANY = 64

interface Piece {
  readonly at: number
  readonly bytes: Buffer
}

interface Unfinished {
  readonly total: number
  received: number
  /** By their place in the message; none touches another's bytes. */
  readonly pieces: Piece[]
  /** When its last chunk came. */
  touched: number
}

/**
 * Puts the messages of one client together, whose chunks may come in any order and between each other. Memory is taken
 * as bytes come, not as they are announced.
 */
export class Assembler {
  /** Bytes of a message, and of all that are unfinished. */
  limit: number
  readonly #unfinished = new Map<number, Unfinished>()
  #bytes = 0
  #chunks = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** When the unfinished message came on that waits longest, on the clock of `add`. */
  get since(): number | undefined {
    let since: number | undefined
    for (const { touched } of this.#unfinished.values()) if (since === undefined || touched < since) since = touched
    return since
  }

  /** Nobody could go on before. */
  touch(now: number): void {
    for (const message of this.#unfinished.values()) message.touched = now
  }

  /**
   * The message that is complete with this chunk, if one is.
   *
   * @param now - milliseconds, on any clock.
   * @throws Fatal
   */
  add(chunk: Buffer, now: number): Buffer | undefined {
    if (chunk.length < HEAD_BYTES) throw violation(`a chunk has at least ${HEAD_BYTES} bytes, received ${chunk.length}`)
    const { id, at, total } = readHead(chunk)
    const bytes = chunk.subarray(HEAD_BYTES)
    if (total === 0) throw violation('a message has at least 1 byte, announced 0')
    if (total > this.limit) throw oversize(`a message has at most ${this.limit} bytes now, announced ${total}`)
    if (bytes.length === 0) throw violation('a chunk without bytes of its message')
    if (at + bytes.length > total) throw violation(`a chunk goes on to byte ${at + bytes.length} of ${total}`)
    const known = this.#unfinished.get(id)
    if (known === undefined && bytes.length === total) return bytes
    const message = known ?? { total, received: 0, pieces: [], touched: now }
    if (message.total !== total) throw violation(`a message of ${message.total} bytes has a chunk of one of ${total}`)
    this.#keep(message, at, bytes)
    message.touched = now
    if (message.received < total) {
      this.#unfinished.set(id, message)
      return undefined
    }
    this.#unfinished.delete(id)
    this.#bytes -= total
    this.#chunks -= message.pieces.length
    // Without overlaps there are no holes.
    return Buffer.concat(
      message.pieces.map(piece => piece.bytes),
      total,
    )
  }

  #keep(message: Unfinished, at: number, bytes: Buffer): void {
    if (this.#bytes + bytes.length > this.limit) throw oversize(`more than ${this.limit} bytes of unfinished messages`)
    const maxChunks = Math.min(MAX_CHUNKS, FEW_CHUNKS + Math.floor(this.limit / BYTES_OF_MANY))
    if (this.#chunks >= maxChunks) throw oversize(`more than ${maxChunks} chunks of unfinished messages`)
    const { pieces } = message
    const index = placeOf(at, pieces)
    const before = pieces[index - 1]
    const after = pieces[index]
    const isTaken =
      (before !== undefined && before.at + before.bytes.length > at) ||
      (after !== undefined && at + bytes.length > after.at)
    if (isTaken) throw violation(`two chunks of a message overlap at byte ${at}`)
    pieces.splice(index, 0, { at, bytes: kept(bytes) })
    message.received += bytes.length
    this.#bytes += bytes.length
    this.#chunks++
  }
}

/** Index of the first piece behind this place: mostly there is none. */
function placeOf(at: number, pieces: readonly Piece[]): number {
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
