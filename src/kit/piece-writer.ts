import type { Writable } from 'node:stream'
import { FwsError, messageOf } from '../contract/errors.ts'

/** Characters that are collected before they are written. */
const PIECE = 65_536
/** Codes of a reader that has closed its end. */
const CLOSED: readonly unknown[] = ['EPIPE', 'ECONNRESET']

/**
 * Writes strings and bytes to a stream in large pieces, and waits for a slow reader.
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
  #error: Error | undefined
  #isScheduled = false
  #isCorked = false
  #room: Promise<void> | undefined

  constructor(stream: Writable) {
    this.#stream = stream
    this.gone = new Promise(resolve => {
      const end = (error?: Error) => {
        this.#isGone = true
        this.#error ??= error
        resolve()
      }
      stream.once('error', end).once('close', end)
    })
  }

  /** Whether the reader is gone; what is written then is lost. */
  get isGone(): boolean {
    return this.#isGone
  }

  /** Why the stream has failed, such as a full disk; `undefined` if its reader has closed its end. */
  get failure(): FwsError | undefined {
    const error = this.#error as NodeJS.ErrnoException | undefined
    if (error === undefined || CLOSED.includes(error.code)) return undefined
    return new FwsError('ERR_COMMAND', `the output cannot be written: ${messageOf(error)}`, error)
  }

  /** Characters and bytes that the system has not accepted yet. */
  get unwritten(): number {
    return this.#piece.length + this.#stream.writableLength
  }

  /** Writes at the latest at the end of the turn; returns a promise if the caller has to wait for the reader. */
  write(part: string | Buffer): Promise<void> | undefined {
    if (typeof part === 'string') this.#piece += part
    else this.#writeBytes(part)
    if (this.#piece.length >= PIECE) this.#push()
    else if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(() => {
        this.#isScheduled = false
        this.#release()
      })
    }
    return this.#stream.writableNeedDrain ? this.#waitForRoom() : undefined
  }

  /** Settles when everything has been passed to the system, or the reader is gone. */
  async flush(): Promise<void> {
    this.#release()
    if (this.#isGone) return
    const accepted = new Promise<void>(resolve => {
      this.#stream.write('', error => {
        // The event 'error' follows.
        if (error) {
          this.#isGone = true
          this.#error ??= error
        }
        resolve()
      })
    })
    await Promise.race([accepted, this.gone])
  }

  /** Bytes of one turn are passed to the system together. */
  #writeBytes(bytes: Buffer): void {
    this.#push()
    if (this.#isGone) return
    if (!this.#isCorked) this.#stream.cork()
    this.#isCorked = true
    this.#stream.write(bytes)
  }

  #push(): void {
    const piece = this.#piece
    this.#piece = ''
    if (!this.#isGone && piece !== '') this.#stream.write(piece)
  }

  #release(): void {
    this.#push()
    if (this.#isCorked) this.#stream.uncork()
    this.#isCorked = false
  }

  #waitForRoom(): Promise<void> {
    this.#room ??= Promise.race([new Promise<void>(resolve => this.#stream.once('drain', resolve)), this.gone]).then(
      () => {
        this.#room = undefined
      },
    )
    return this.#room
  }
}
