import { Readable } from 'node:stream'

/** Bytes in the buffer from which on the peer is paused. */
const HIGH_WATER_MARK = 262_144

/** The content of a frame as it arrives. Unless it is claimed it is discarded, so that the next frame can be read. */
export class ContentStream extends Readable {
  /** Bytes of the complete content. */
  readonly size: number
  readonly #resume: () => void
  #isClaimed = false

  /** @param resume - called when there is room again, after a `push` that returned false. */
  constructor(size: number, resume: () => void) {
    super({ highWaterMark: HIGH_WATER_MARK })
    this.size = size
    this.#resume = resume
    // Otherwise the error of a stream that is not read would end the process. A reader gets it too.
    this.on('error', () => {})
  }

  /** Keeps the content for a reader. MUST be called while its message is handled. */
  claim(): this {
    this.#isClaimed = true
    return this
  }

  /** Discards the content unless it is claimed. Called when its message is handled. */
  settle(): void {
    if (!this.#isClaimed) this.destroy()
  }

  override _read(): void {
    this.#resume()
  }
}
