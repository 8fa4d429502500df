import type { Socket } from 'node:net'
import type { Attached, Client, Payload, Server, Transport } from 'filtered-websocket'
import type { Frame } from './frame.ts'
import { Malformed } from './malformed.ts'
import { Parser } from './parser.ts'

const NORMAL = 1000
const POLICY = 1008
const OURS = 1011
const TOO_SLOW = 1013
/** Milliseconds that a peer has to end its side, after ours. */
const GOODBYE = 2000

/** What all connections have in common. */
export interface ConnectionOptions {
  /** Bytes of one content. */
  readonly maxContent: number
  /** Milliseconds for a header that has begun. */
  readonly headerTimeout: number
  /** Hears of each frame before its bytes are received. */
  remember(frame: Frame): void
  /** Hears why a peer is no longer listened to. */
  refused(why: string, remote: string): void
}

/** What a codec has made is a frame already. */
function asIs(payload: Payload): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload
}

/** A peer on TCP, as the core sees it: each frame is a message. */
export class Connection implements Transport {
  readonly name = 'messaging'
  readonly remote: string
  readonly socket: Socket
  readonly frame = asIs
  readonly #options: ConnectionOptions
  readonly #parser: Parser
  #attached!: Attached
  #ending = { code: 1006, reason: '', clean: false }
  #isPaused = false
  /** Nothing more is taken: we have ended it. */
  #isOver = false
  /** The peer has ended its side. */
  #hasEnded = false
  #deadline: NodeJS.Timeout | undefined

  /** @param socket - whose errors somebody listens to. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.socket = socket
    this.remote = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '')
    this.#options = options
    this.#parser = new Parser(options.maxContent)
  }

  /** Makes it a client. @throws what `server.attach` does. */
  attach(server: Server): Client {
    this.#attached = server.attach(this)
    this.socket
      .on('data', chunk => this.#read(chunk))
      .once('end', () => {
        this.#hasEnded = true
      })
      .once('close', () => this.#closed())
    return this.#attached.client
  }

  pause(): void {
    this.#isPaused = true
    this.#stopClock()
    this.socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#watch()
    this.socket.resume()
  }

  close(code: number, reason: string): void {
    this.#isOver = true
    this.#stopClock()
    this.#ending = { code, reason, clean: true }
    // Who is too slow would not read what was sent either.
    if (code === TOO_SLOW) {
      this.destroy()
      return
    }
    this.socket.end()
    this.#deadline = setTimeout(() => this.destroy(), GOODBYE)
  }

  destroy(): void {
    this.socket.destroy()
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return
    this.#parser.push(chunk)
    this.#take()
  }

  #take(): void {
    try {
      while (!this.#isOver) {
        const frame = this.#parser.next()
        if (frame === undefined) break
        this.#stopClock()
        this.#options.remember(frame)
        this.#attached.receive(frame.bytes)
      }
      this.#watch()
    } catch (error) {
      // Thrown on, an error of ours would end the process: nobody else is on this stack.
      this.#refuse(error instanceof Malformed ? error.closeCode : OURS, (error as Error).message)
    }
  }

  /** Who has begun a header must end it in time. While nothing is read, no time passes. */
  #watch(): void {
    if (this.#isPaused || this.#isOver) return
    if (!this.#parser.isInHeader) {
      this.#stopClock()
      return
    }
    const { headerTimeout } = this.#options
    const why = `a header was not whole within ${headerTimeout / 1000} seconds`
    this.#deadline ??= setTimeout(() => this.#refuse(POLICY, why), headerTimeout)
  }

  #stopClock(): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
  }

  #refuse(code: number, why: string): void {
    this.#isOver = true
    this.#options.refused(why, this.remote)
    this.#attached.client.disconnect(code, why)
  }

  #closed(): void {
    this.#stopClock()
    if (!this.#isOver && this.#hasEnded && this.#parser.isIdle) this.#ending = { code: NORMAL, reason: '', clean: true }
    const { code, reason, clean } = this.#ending
    this.#attached.closed(code, reason, clean)
  }
}
