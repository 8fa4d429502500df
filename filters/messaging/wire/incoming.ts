import { Readable } from 'node:stream'

/** Bytes that wait for whoever takes them, before the peer has to. */
const WINDOW = 262_144

/** The content of a frame while it comes. Whoever wants it says so with `claim`; else it is read and thrown away. */
export class Incoming extends Readable {
  /** Bytes of the whole. */
  readonly size: number
  readonly #resume: () => void
  #isClaimed = false

  /** @param resume - reads on, after a `push` that answered false. */
  constructor(size: number, resume: () => void) {
    super({ highWaterMark: WINDOW })
    this.size = size
    this.#resume = resume
    // Of one that nobody has taken; the taker hears of it as well.
    this.on('error', () => {})
  }

  /** In the handling of its message, not later. */
  claim(): this {
    this.#isClaimed = true
    return this
  }

  /** Nobody can claim it any more. */
  settle(): void {
    if (!this.#isClaimed) this.destroy()
  }

  override _read(): void {
    this.#resume()
  }
}
