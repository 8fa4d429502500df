import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Encoder,
  encoderOf,
  type FramingName,
  type Outgoing,
  optionError,
  PieceWriter,
} from 'filtered-websocket/kit'
import type { Connection } from '../connection.ts'
import type { Input, Target } from './target.ts'

/** Milliseconds for written messages to reach their reader at the end. */
const LAST_WORDS = 1000

/** Writes the messages of a server to standard output. While its reader is slow, the server is not read. */
export class Printer {
  /** Settles when the reader is gone. */
  readonly gone: Promise<void>
  readonly #writer: PieceWriter
  readonly #target: Target
  readonly #encoder: Encoder
  #isPaused = false

  /** @throws Error `ERR_OPTION` */
  constructor(target: Target, framing: FramingName, stdout: Input<unknown>['streams']['stdout']) {
    const isTerminal = stdout.isTTY === true
    if (framing === 'length' && isTerminal)
      throw optionError('--framing length writes bytes; standard output is a terminal')
    this.#target = target
    this.#encoder = encoderOf(framing, isTerminal)
    this.#writer = new PieceWriter(stdout)
    this.gone = this.#writer.gone
  }

  get isGone(): boolean {
    return this.#writer.isGone
  }

  /** @throws Error `ERR_COMMAND`: the output has failed, other than by a reader that is gone. */
  check(): void {
    if (this.#writer.failure !== undefined) throw this.#writer.failure
  }

  /** Prints all messages of a server. */
  printFrom(connection: Connection): void {
    connection.on('message', data => this.print({ payload: typeof data === 'string' ? data : Buffer.from(data) }))
  }

  print(message: Outgoing): void {
    const room = this.#writer.write(this.#encoder.encode(message))
    if (room !== undefined && !this.#isPaused) void this.#pauseUntil(room)
  }

  /** Resolves when the system has accepted all messages, or the reader is gone. */
  flush(): Promise<void> {
    return this.#writer.flush()
  }

  /** Waits for the last messages, for a second at most: the reader may have stopped. */
  async finish(written: Promise<void> = this.flush()): Promise<void> {
    await Promise.race([written, sleep(LAST_WORDS)])
  }

  async #pauseUntil(room: Promise<void>): Promise<void> {
    this.#isPaused = true
    this.#target.pause()
    await room
    this.#isPaused = false
    this.#target.resume()
  }
}
