import type { Run } from './topic.ts'

/** What one client gets of a turn, in order: neighbouring frames of a run become one piece of its buffer, nothing is copied. */
export class Selection {
  frames = 0
  bytes = 0
  readonly #pieces: Buffer[] = []
  #run: Run | undefined
  #from = 0
  #to = 0

  addFrame(frame: Buffer): void {
    this.#cut()
    this.#pieces.push(frame)
    this.frames++
    this.bytes += frame.length
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
    this.frames++
    this.bytes += size
  }

  pieces(): readonly Buffer[] {
    this.#cut()
    return this.#pieces
  }

  #cut(): void {
    const run = this.#run
    if (run === undefined) return
    this.#run = undefined
    const start = endOf(run, this.#from - 1)
    const end = endOf(run, this.#to - 1)
    if (end > start) this.#pieces.push(run.buffer.subarray(start, end))
  }
}

function endOf(run: Run, i: number): number {
  return i < 0 ? 0 : run.ends[i]!
}
