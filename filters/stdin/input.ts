import { Duplex, type Readable } from 'node:stream'
import type { Attached, Server, Transport } from 'filtered-websocket'
import { Lines } from 'filtered-websocket/kit'

const NOTHING = Buffer.alloc(0)
/** Nothing is sent to standard input. */
const frame = () => NOTHING

export interface InputHost {
  /** `host.order` of the filter. */
  readonly order: number
  /** Topic of the broadcasts; `undefined`: all clients. */
  readonly topic: string | undefined
  /** Bytes of a line. */
  readonly maxLine: number
  /** Called for each line that is too long, and is skipped. */
  onSkip(): void
  onError(error: unknown): void
  /** The input has ended, and all of its messages are handled. */
  onEnd(): void
}

/** Standard input as a client: each line is a message. */
export class Input implements Transport {
  readonly name = 'stdin'
  readonly remote = 'stdin'
  readonly frame = frame
  readonly socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  readonly #stream: Readable
  readonly #host: InputHost
  readonly #lines: Lines
  #attached: Attached | undefined
  #isPaused = false
  /** The stream has ended; lines may still wait for room in the mailbox. */
  #hasEnded = false
  readonly #onData = (chunk: Buffer | string) => {
    this.#lines.add(Buffer.from(chunk))
    this.#read()
  }
  readonly #onEnd = () => {
    this.#hasEnded = true
    this.#read()
  }
  readonly #onError = (error: Error) => {
    this.#host.onError(error)
    this.destroy()
  }

  constructor(stream: Readable, host: InputHost) {
    this.#stream = stream
    this.#host = host
    this.#lines = new Lines(host.maxLine, () => host.onSkip())
    stream.once('error', this.#onError)
  }

  /** Makes the input a client, and begins to read. */
  begin(server: Server): void {
    if (this.#stream.destroyed) return
    const { order, topic } = this.#host
    this.#attached = server.attach(this, { after: order, topic })
    this.#stream.on('data', this.#onData).once('end', this.#onEnd)
  }

  pause(): void {
    this.#isPaused = true
    this.#stream.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#read()
    if (!this.#isPaused) this.#stream.resume()
  }

  close(code: number, reason: string): void {
    this.#leave()
    this.#attached?.closed(code, reason, true)
  }

  destroy(): void {
    this.#leave()
    this.#attached?.closed(1006, '', false)
  }

  /** The lines that are complete, as long as the mailbox has room. */
  #read(): void {
    while (!this.#isPaused) {
      const line = this.#lines.next()
      if (line === undefined) {
        if (this.#hasEnded) this.#finish()
        return
      }
      this.#attached!.receive(line)
    }
  }

  #finish(): void {
    this.#hasEnded = false
    const rest = this.#lines.hasRest ? this.#lines.last() : undefined
    if (rest !== undefined) this.#attached!.receive(rest)
    this.#attached!.settled(() => {
      this.#host.onEnd()
      this.close(1000, '')
    })
  }

  /** Releases the stream without ending it: it belongs to the process. */
  #leave(): void {
    this.#isPaused = true
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).off('error', this.#onError).pause()
  }
}
