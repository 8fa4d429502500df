import { Readable } from 'node:stream'
import {
  commandError,
  createFraming,
  type Framing,
  type FramingName,
  type Incoming,
  LogLimit,
  readMessages,
} from 'filtered-websocket/kit'
import type { Delivery } from './delivery.ts'

interface SourceOptions {
  readonly framing: FramingName
  readonly 'max-payload': number
  /** Whether only text can be sent. */
  readonly isText: boolean
}

/** The messages of standard input. */
export class Source {
  /** Number of messages that were not sent. */
  skipped = 0
  readonly #stream: Readable | undefined
  readonly #framing: Framing<Incoming>
  readonly #isText: boolean
  readonly #onSkip: (why: string) => void
  readonly #limit = new LogLimit(5, 1000)
  #isStopped = false

  /** @param onSkip - called with the reason, at most 5 times a second. */
  constructor(stream: Readable | undefined, options: SourceOptions, onSkip: (why: string) => void) {
    this.#stream = stream
    this.#isText = options.isText
    this.#onSkip = onSkip
    this.#framing = createFraming(options.framing, options['max-payload'], why => this.#skip(why))
  }

  /** Passes all messages on, as fast as they are accepted. */
  async readTo(delivery: Delivery): Promise<void> {
    try {
      const pass = (message: Incoming) => this.#pass(message, delivery)
      await readMessages(this.#stream ?? Readable.from([]), this.#framing, pass, () => this.#isStopped)
    } catch (error) {
      throw commandError(`standard input failed: ${(error as Error).message}`)
    }
  }

  /** Stops before the next message. */
  stop(): void {
    this.#isStopped = true
  }

  #pass(message: Incoming, delivery: Delivery): Promise<void> | undefined {
    if (!this.#isText || typeof message.payload === 'string') return delivery.write(message)
    this.#skip('binary, which topics do not carry')
    return undefined
  }

  #skip(why: string): void {
    this.skipped++
    if (!this.#limit.take().isOver) this.#onSkip(why)
  }
}
