const NEWLINE = 0x0a
const RETURN = 0x0d

/** Splits bytes into lines, without their line ends: LF or CR LF. A line of more than `max` bytes is skipped. */
export class Lines {
  readonly #max: number
  readonly #onSkip: () => void
  #chunk: Buffer = Buffer.alloc(0)
  /** The beginning of a line that continues in the next chunk. */
  #parts: Buffer[] = []
  #length = 0
  #isSkipping = false

  constructor(max: number, onSkip: () => void) {
    this.#max = max
    this.#onSkip = onSkip
  }

  /** Adds a chunk; all lines of the one before MUST have been read. */
  add(chunk: Buffer): void {
    this.#chunk = chunk
  }

  /** The next complete line; `undefined` if the chunk has no further one. */
  next(): string | undefined {
    for (;;) {
      const end = this.#chunk.indexOf(NEWLINE)
      if (end === -1) {
        this.#keep(this.#chunk)
        this.#chunk = this.#chunk.subarray(this.#chunk.length)
        return undefined
      }
      this.#keep(this.#chunk.subarray(0, end))
      this.#chunk = this.#chunk.subarray(end + 1)
      const line = this.last()
      if (line !== undefined) return line
    }
  }

  /** The kept bytes as a line, also without a line end; `undefined` if it is too long. */
  last(): string | undefined {
    const line = Buffer.concat(this.#parts)
    const end = line.at(-1) === RETURN ? line.length - 1 : line.length
    const isTooLong = this.#isSkipping || end > this.#max
    this.#parts = []
    this.#length = 0
    this.#isSkipping = false
    if (isTooLong) this.#onSkip()
    return isTooLong ? undefined : line.toString('utf8', 0, end)
  }

  /** Whether bytes without a line end are kept. */
  get hasRest(): boolean {
    return this.#isSkipping || this.#length > 0
  }

  #keep(bytes: Buffer): void {
    this.#length += bytes.length
    // One byte more, as a CR at the end does not count.
    if (this.#isSkipping || this.#length > this.#max + 1) {
      this.#isSkipping = true
      this.#parts = []
    } else if (bytes.length > 0) this.#parts.push(bytes)
  }
}
