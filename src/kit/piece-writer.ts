import type { Writable } from 'node:stream'

/** Characters that are collected before they are written. */
const PIECE = 65_536

/**
 * Writes texts to a stream in large pieces, and waits for a slow reader.
 *
 * @example
 * for await (const line of lines) await writer.write(`${line}\n`)
 * await writer.flush()
 */
export class PieceWriter {
  /** Settles when the reader has closed its end (EPIPE) or the stream has failed. */
  readonly gone: Promise<void>
  readonly #stream: Writable
  #piece = ''
  #isGone = false
  #isScheduled = false

  constructor(stream: Writable) {
    this.#stream = stream
    this.gone = new Promise(resolve => {
      const end = () => {
        this.#isGone = true
        resolve()
      }
      stream.once('error', end).once('close', end)
    })
  }

  /** Whether the reader is gone; what is written then is lost. */
  get isGone(): boolean {
    return this.#isGone
  }

  /** Writes a text, at the latest at the end of the turn; returns a promise if the caller has to wait for the reader. */
  write(text: string): Promise<void> | undefined {
    this.#piece += text
    if (this.#piece.length >= PIECE) return this.#push() ? undefined : this.#room()
    if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(() => {
        this.#isScheduled = false
        this.#push()
      })
    }
    return undefined
  }

  /** Settles when all texts have been passed to the system, or the reader is gone. */
  async flush(): Promise<void> {
    this.#push()
    if (this.#isGone) return
    await Promise.race([new Promise<void>(resolve => this.#stream.write('', () => resolve())), this.gone])
  }

  #push(): boolean {
    const piece = this.#piece
    this.#piece = ''
    return this.#isGone || piece === '' || this.#stream.write(piece)
  }

  async #room(): Promise<void> {
    await Promise.race([new Promise<void>(resolve => this.#stream.once('drain', resolve)), this.gone])
  }
}
