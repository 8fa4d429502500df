import { Duplex, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Attached, type Audience, EVERYONE, type Payload, type Server, type Transport } from 'filtered-websocket'
import type { Framing, Incoming } from 'filtered-websocket/kit'

const NOTHING = Buffer.alloc(0)
/** Nothing is sent to standard input. */
const frame = () => NOTHING

/** Milliseconds until a kept topic is tried again that has no room, or whose storage does not answer. */
const RETRY = 1000

export interface InputHost {
  /** `host.order` of the filter. */
  readonly order: number
  /** Topic of the broadcasts; `undefined`: all clients. */
  readonly topic: string | undefined
  readonly framing: Framing<Incoming>
  onError(error: unknown): void
  /** A message cannot be stored yet, and is tried again. */
  onRetry(error: unknown): void
  /** The input has ended, and all of its messages are handled. */
  onEnd(): void
}

/**
 * Standard input as a client. Its messages are handled one after the other: the next one is read when the broadcasts of the one before to
 * kept topics are stored.
 */
export class Input implements Transport {
  readonly name = 'stdin'
  readonly remote = 'stdin'
  readonly frame = frame
  readonly socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  readonly #stream: Readable
  readonly #host: InputHost
  #server!: Server
  #attached!: Attached
  /** Topic of the message that is handled. */
  #topic: string | undefined
  /** Settles when the broadcasts of the message are stored. */
  #stored: Promise<unknown> | undefined
  #isPaused = false
  #isHandling = false
  #isReading = false
  /** The stream has ended; messages may be left. */
  #hasEnded = false
  /** Called when all that was read is handled: the server stops. */
  #onRead: (() => void) | undefined
  readonly #onData = (chunk: Buffer | string) => {
    this.#host.framing.add(Buffer.from(chunk))
    this.#stream.pause()
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
    stream.once('error', this.#onError)
  }

  /** Makes the input a client, and begins to read. */
  begin(server: Server): void {
    if (this.#stream.destroyed) return
    this.#server = server
    this.#attached = server.attach(this, { after: this.#host.order, broadcast: this.#broadcast })
    this.#attached.client.finish(() => this.#finish())
    this.#stream.on('data', this.#onData).once('end', this.#onEnd)
  }

  pause(): void {
    this.#isPaused = true
    this.#stream.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#read()
  }

  close(code: number, reason: string): void {
    this.#leave()
    this.#attached.closed(code, reason, true)
  }

  destroy(): void {
    this.#leave()
    this.#attached?.closed(1006, '', false)
  }

  /** Handles the messages that are complete. */
  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    while (!this.#isPaused && !this.#isHandling) {
      const message = this.#next()
      if (message !== undefined) this.#handle(message)
      else if (!this.#readRest()) break
    }
    this.#isReading = false
  }

  #next(): Incoming | undefined {
    const { framing } = this.#host
    return framing.next() ?? (this.#hasEnded && framing.hasRest ? framing.last() : undefined)
  }

  /** Without further messages: reads on, or ends. Returns whether there are more messages now. */
  #readRest(): boolean {
    if (this.#onRead !== undefined) {
      const rest: Buffer | string | null = this.#stream.read()
      if (rest !== null) this.#host.framing.add(Buffer.from(rest))
      else this.#onRead()
      return rest !== null
    }
    if (this.#hasEnded) {
      this.#hasEnded = false
      this.#host.onEnd()
      this.close(1000, '')
    } else this.#stream.resume()
    return false
  }

  #handle({ payload, topic = this.#host.topic }: Incoming): void {
    this.#isHandling = true
    this.#topic = topic
    this.#attached.receive(payload)
    this.#attached.settled(this.#handled)
  }

  readonly #handled = (): void => {
    const stored = this.#stored
    this.#stored = undefined
    if (stored === undefined) {
      this.#isHandling = false
      this.#read()
    } else void stored.then(this.#handled)
  }

  /** The server stops: handles the messages that were read. */
  #finish(): Promise<void> {
    return new Promise(resolve => {
      this.#onRead = () => {
        this.#isPaused = true
        resolve()
      }
      this.resume()
    })
  }

  readonly #broadcast = (payload: Payload, to: Audience): void => {
    const topic = to.topic ?? this.#topic
    const isKept = to.where === undefined && to.local !== true && this.#server.keeps(topic ?? EVERYONE)
    if (isKept) this.#stored = Promise.all([this.#stored, this.#append(topic ?? EVERYONE, payload, to)])
    else this.#server.broadcast(payload, topic === undefined ? to : { ...to, topic })
  }

  /** Settles when the payload is stored, or cannot be. */
  async #append(topic: string, payload: Payload, { format, except }: Audience): Promise<void> {
    const entries = [{ payload, format, except: except?.id }]
    const { signal } = this.#attached.client
    try {
      for (;;) {
        try {
          const outcome = await this.#server.append(topic, entries)
          if ('position' in outcome) return
          this.#host.onRetry(new Error(`topic ${JSON.stringify(topic)} is full`))
        } catch (error) {
          if (!isTemporary(error)) throw error
          this.#host.onRetry(error)
        }
        await sleep(RETRY, undefined, { signal })
      }
    } catch (error) {
      this.#host.onError(error)
    }
  }

  /** Releases the stream without ending it: it belongs to the process. */
  #leave(): void {
    this.#isPaused = true
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).off('error', this.#onError).pause()
  }
}

/** Whether a later append can succeed. */
function isTemporary(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code === 'ERR_STORAGE' || code === 'ERR_LIMIT'
}
