import type { Framing } from './lines.ts'

/** Bytes of the length before a message. */
const HEADER = 4
const NOTHING: Buffer = Buffer.alloc(0)

/** Splits bytes into messages, each behind its length: 4 bytes, big-endian. A message of more than `max` bytes is skipped. */
export class LengthFrames implements Framing<Buffer> {
  readonly #max: number
  readonly #onSkip: (why: 'too long' | 'incomplete') => void
  readonly #header: Buffer = Buffer.alloc(HEADER)
  #chunk: Buffer = NOTHING
  /** The buffer that the bytes fill: a header or a message. */
  #target = this.#header
  #filled = 0
  /** Bytes of a skipped message that are still to come. */
  #skips = 0

  constructor(max: number, onSkip: (why: 'too long' | 'incomplete') => void) {
    this.#max = max
    this.#onSkip = onSkip
  }

  add(chunk: Buffer): void {
    this.#chunk = chunk
  }

  next(): Buffer | undefined {
    for (;;) {
      this.#skip()
      const taken = this.#chunk.copy(this.#target, this.#filled)
      this.#chunk = this.#chunk.subarray(taken)
      this.#filled += taken
      if (this.#filled < this.#target.length) return undefined
      const filled = this.#target
      this.#filled = 0
      this.#target = this.#header
      if (filled !== this.#header) return filled
      this.#begin(filled.readUInt32BE())
    }
  }

  /** The input has ended within a message, which is skipped. */
  last(): undefined {
    if (this.#skips === 0) this.#onSkip('incomplete')
    this.#target = this.#header
    this.#filled = 0
    this.#skips = 0
  }

  get hasRest(): boolean {
    return this.#skips > 0 || this.#filled > 0 || this.#target !== this.#header
  }

  #begin(length: number): void {
    if (length <= this.#max) {
      this.#target = Buffer.allocUnsafeSlow(length)
      return
    }
    this.#skips = length
    this.#onSkip('too long')
  }

  #skip(): void {
    const skipped = Math.min(this.#skips, this.#chunk.length)
    this.#skips -= skipped
    this.#chunk = this.#chunk.subarray(skipped)
  }
}
