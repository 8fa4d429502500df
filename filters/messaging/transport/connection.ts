import type { Socket } from 'node:net'
import type { Attached, Client, Payload, Server, Transport } from 'filtered-websocket'
import type { Frame } from '../wire/frame.ts'
import { Incoming } from '../wire/incoming.ts'
import { Malformed } from '../wire/malformed.ts'
import { Parser } from '../wire/parser.ts'

const NORMAL = 1000
const POLICY = 1008
const OURS = 1011
const TOO_SLOW = 1013
/** Milliseconds that a peer has to end its side, after ours. */
const GOODBYE = 2000
/** Bytes of a content that have to come in `idleTimeout`, as long as so many are missing. */
const LEAST = 16_384

/** What all connections have in common. */
export interface ConnectionOptions {
  /** Bytes of one content. */
  readonly maxContent: number
  /** Bytes of one file. */
  readonly maxFile: number
  /** Milliseconds for a header that has begun. */
  readonly headerTimeout: number
  /** Milliseconds in which a content that has begun must go on. */
  readonly idleTimeout: number
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
  /** The file that comes now. */
  #incoming: Incoming | undefined
  /** It has more than its taker can take. */
  #isCrowded = false
  /** Nothing more is taken: we have ended it. */
  #isOver = false
  /** The peer has ended its side. */
  #hasEnded = false
  #deadline: NodeJS.Timeout | undefined
  #isHeaderDeadline = false
  /** Bytes since the deadline was set. */
  #progress = 0

  /** @param socket - whose errors somebody listens to. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.socket = socket
    this.remote = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '')
    this.#options = options
    this.#parser = new Parser(options.maxContent, options.maxFile)
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
    this.#flow()
  }

  resume(): void {
    this.#isPaused = false
    this.#flow()
  }

  close(code: number, reason: string): void {
    this.#isOver = true
    this.#stopClock()
    this.#abandon()
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
    this.#progress += chunk.length
    if (this.#progress < LEAST || this.#isHeaderDeadline) return
    this.#progress = 0
    this.#deadline?.refresh()
  }

  #flow(): void {
    const isHeld = this.#isPaused || (this.#isCrowded && !this.#isOver)
    if (isHeld) this.#stopClock()
    else this.#watch()
    this.socket[isHeld ? 'pause' : 'resume']()
  }

  #take(): void {
    try {
      while (!this.#isOver) {
        const piece = this.#parser.piece()
        if (piece !== undefined) {
          this.#pass(piece)
          continue
        }
        const frame = this.#parser.next()
        if (frame === undefined) break
        this.#stopClock()
        this.#hand(frame)
      }
      this.#watch()
    } catch (error) {
      // Thrown on, an error of ours would end the process: nobody else is on this stack.
      this.#refuse(error instanceof Malformed ? error.closeCode : OURS, (error as Error).message)
    }
  }

  /** A file goes through the chain without its bytes; they follow for the one who takes it. */
  #hand(frame: Frame): void {
    const { rest } = this.#parser
    if (rest === 0) {
      this.#options.remember(frame)
      this.#attached.receive(frame.bytes)
      return
    }
    const stream = new Incoming(rest, () => this.#relieve())
    this.#incoming = stream
    stream.once('close', () => this.#relieve())
    this.#options.remember({ ...frame, stream })
    this.#attached.receive(frame.bytes)
    this.#attached.settled(() => stream.settle())
  }

  #pass(piece: Buffer): void {
    const incoming = this.#incoming!
    // Once its taker has given up, the rest is thrown away.
    if (!incoming.destroyed && !incoming.push(piece)) {
      this.#isCrowded = true
      this.#flow()
    }
    if (this.#parser.rest > 0) return
    incoming.push(null)
    this.#incoming = undefined
    this.#stopClock()
  }

  #relieve(): void {
    if (!this.#isCrowded) return
    this.#isCrowded = false
    this.#flow()
  }

  /** Who has begun a header or a content must go on in time. While nothing is read, no time passes. */
  #watch(): void {
    if (this.#isPaused || this.#isCrowded || this.#isOver) return
    const { isInHeader, isIdle } = this.#parser
    if (isIdle || isInHeader !== this.#isHeaderDeadline) this.#stopClock()
    if (isIdle || this.#deadline !== undefined) return
    const { headerTimeout, idleTimeout } = this.#options
    this.#isHeaderDeadline = isInHeader
    this.#progress = 0
    this.#deadline = isInHeader
      ? this.#refuseAfter(headerTimeout, `a header was not whole within ${headerTimeout / 1000} seconds`)
      : this.#refuseAfter(idleTimeout, `a content did not go on for ${idleTimeout / 1000} seconds`)
  }

  #refuseAfter(ms: number, why: string): NodeJS.Timeout {
    return setTimeout(() => this.#refuse(POLICY, why), ms)
  }

  #stopClock(): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
  }

  #abandon(): void {
    this.#incoming?.destroy(new Error('the connection has ended'))
    this.#incoming = undefined
  }

  #refuse(code: number, why: string): void {
    this.#isOver = true
    this.#options.refused(why, this.remote)
    this.#attached.client.disconnect(code, why)
  }

  #closed(): void {
    this.#stopClock()
    this.#abandon()
    if (!this.#isOver && this.#hasEnded && this.#parser.isIdle) this.#ending = { code: NORMAL, reason: '', clean: true }
    const { code, reason, clean } = this.#ending
    this.#attached.closed(code, reason, clean)
  }
}
