import type { Run } from './batch.ts'
import { BLOCK_BYTES, compact, Span } from './block.ts'
import type { Outbox } from './outbox.ts'
import { Pieces } from './pieces.ts'
import { type Frame, Unnumbered, type Wire } from './wire.ts'

/** The frames that one client gets in a flush, in order. Adjacent frames of a run become one slice of its buffer, without a copy. */
export class Selection {
  frames = 0
  bytes = 0
  /** Bytes of the largest frame. */
  largest = 0
  readonly #pieces: Buffer[] = []
  protected readonly outbox: Outbox
  #run: Run | undefined
  #from = 0
  #to = 0

  constructor(outbox: Outbox) {
    this.outbox = outbox
  }

  addFrame(frame: Frame): void {
    this.#cut()
    if (frame instanceof Unnumbered) {
      this.addNumbered(frame.wire, frame.rest)
      return
    }
    if (frame instanceof Span) {
      this.#pieces.push(frame.bytes)
      this.#count(frame.length, frame.count)
      return
    }
    if (frame instanceof Pieces) this.#pieces.push(...frame.pieces)
    else this.#pieces.push(frame)
    this.#count(frame.length)
  }

  /** Adds frame `i` of a run. */
  addEntry(run: Run, i: number): void {
    if (run !== this.#run || i !== this.#to) {
      this.#cut()
      this.#run = run
      this.#from = i
    }
    this.#to = i + 1
    const size = endOf(run, i) - endOf(run, i - 1)
    if (size === 0) return
    if (run.pieces !== undefined) this.#pieces.push(...run.pieces[i]!)
    this.#count(size)
  }

  pieces(): readonly Buffer[] {
    this.#cut()
    return this.#pieces
  }

  /** Numbers follow the order of the writes. */
  protected addNumbered(wire: Wire, rest: Buffer): void {
    let size = 0
    for (const piece of wire.numbered(this.outbox.nextNumber++, rest)) {
      this.#pieces.push(piece)
      size += piece.length
    }
    this.#count(size)
  }

  #count(size: number, frames = 1): void {
    this.frames += frames
    this.bytes += size
    if (size > this.largest) this.largest = size
  }

  #cut(): void {
    const run = this.#run
    if (run === undefined || run.pieces !== undefined) return
    this.#run = undefined
    const start = endOf(run, this.#from - 1)
    const end = endOf(run, this.#to - 1)
    if (end === start) return
    const slice = run.buffer.subarray(start, end)
    // A small part must not keep all of a large run, should it wait for a slow socket.
    this.#pieces.push(run.buffer.length > BLOCK_BYTES ? compact(slice) : slice)
  }
}

/** A selection for a client with a numbered codec: only the bytes after the number are shared. */
export class NumberedSelection extends Selection {
  override addEntry(run: Run, i: number): void {
    const rest = run.buffer.subarray(endOf(run, i - 1), endOf(run, i))
    if (rest.length > 0) this.addNumbered(this.outbox.wire, rest)
  }
}

function endOf(run: Run, i: number): number {
  return i < 0 ? 0 : run.ends[i]!
}
