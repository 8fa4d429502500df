import type { Socket } from 'node:net'
import type { Attached, Client, Payload, Server, Transport } from 'filtered-websocket'
import { acceptedBytes, type Pinged, Watchdog } from 'filtered-websocket/kit'
import type { Limits } from '../../../protocols/clever-show/json.ts'
import { Malformed } from '../../../protocols/clever-show/malformed.ts'
import { type ParsedFrame, Parser } from '../../../protocols/clever-show/parser.ts'
import { ContentStream } from '../wire/content-stream.ts'

const NORMAL = 1000
const POLICY = 1008
const INTERNAL_ERROR = 1011
const TRY_AGAIN_LATER = 1013
/** Milliseconds in which a peer must end its side after the server has ended its own. */
const CLOSE_TIMEOUT = 2000
/** Bytes of a content that must arrive within `idleTimeout`, unless fewer are missing. */
const MIN_PROGRESS = 16_384

/** Options of all connections of a port. */
export interface ConnectionOptions {
  readonly limits: Limits
  /** Milliseconds for a header that has begun. */
  readonly headerTimeout: number
  /** Milliseconds in which a content that has begun must go on. */
  readonly idleTimeout: number
  /** Called when a peer is disconnected because of a frame or a timeout. */
  onRefused(reason: string, remote: string): void
  /** Requests the id of a peer. MUST NOT throw. */
  requestId(client: Client): void
}

/** The codec has made the frame. */
function identity(payload: Payload): Buffer {
  return typeof payload === 'string' ? Buffer.from(payload) : payload
}

/**
 * The transport of a peer on TCP: each frame is a message.
 *
 * In the heartbeat it detects peers that are lost without a FIN, such as a drone with an empty battery. TCP's keepalive does that only
 * while no bytes are in flight; with bytes in flight TCP retries for 15 minutes.
 */
export class Connection implements Transport, Pinged {
  readonly name = 'messaging'
  readonly remote: string
  readonly socket: Socket
  readonly frame = identity
  readonly #options: ConnectionOptions
  readonly #parser: Parser<Buffer>
  #attached!: Attached
  #ending = { code: 1006, reason: '', clean: false }
  #isPaused = false
  /** The file that is being received. */
  #incoming: ContentStream | undefined
  /** The buffer of that file is full. */
  #shouldPause = false
  /** The server has ended the connection, and reads no more. */
  #isOver = false
  readonly #watchdog = new Watchdog(MIN_PROGRESS, () => this.#onStall())
  #isHeaderDeadline = false

  /** @param socket - MUST have an error listener. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.socket = socket
    this.remote = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '')
    this.#options = options
    this.#parser = new Parser(Buffer, options.limits, true)
  }

  /** Makes the peer a client. @throws the errors of `server.attach`. */
  attach(server: Server): Client {
    this.#attached = server.attach(this)
    this.socket.on('data', chunk => this.#read(chunk)).once('close', () => this.#closed())
    return this.#attached.client
  }

  get bytesIn(): number {
    return this.socket.bytesRead
  }

  get bytesOut(): number {
    return acceptedBytes(this.socket)
  }

  /** Peers that have never sent an id may not answer requests, and are not checked. */
  get isReadPaused(): boolean {
    return this.socket.isPaused() || this.#attached.client.state.messaging === undefined
  }

  ping(): void {
    this.#options.requestId(this.#attached.client)
  }

  terminate(): void {
    this.destroy()
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
    this.#watchdog.stop()
    this.#abandon()
    this.#ending = { code, reason, clean: true }
    // A peer that is too slow would not read the rest either.
    if (code === TRY_AGAIN_LATER) {
      this.destroy()
      return
    }
    this.socket.end()
    const deadline = setTimeout(() => this.destroy(), CLOSE_TIMEOUT)
    this.socket.once('close', () => clearTimeout(deadline))
  }

  destroy(): void {
    this.socket.destroy()
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return
    this.#parser.push(chunk)
    this.#parse()
    // Progress does not extend the deadline of a header.
    if (!this.#isHeaderDeadline) this.#watchdog.add(chunk.length)
  }

  #flow(): void {
    const isPaused = this.#isPaused || (this.#shouldPause && !this.#isOver)
    if (isPaused) this.#watchdog.stop()
    else this.#setDeadline()
    this.socket[isPaused ? 'pause' : 'resume']()
  }

  #parse(): void {
    try {
      while (!this.#isOver) {
        const piece = this.#parser.piece()
        if (piece !== undefined) {
          this.#append(piece)
          continue
        }
        const frame = this.#parser.next()
        if (frame === undefined) break
        this.#watchdog.stop()
        this.#receive(frame)
      }
      this.#setDeadline()
    } catch (error) {
      // This runs in a listener of the socket: an error that is thrown further would end the process.
      this.#refuse(error instanceof Malformed ? error.closeCode : INTERNAL_ERROR, (error as Error).message)
    }
  }

  /** A file goes through the chain without its bytes; they follow as a stream. */
  #receive(frame: ParsedFrame<Buffer>): void {
    const { rest } = this.#parser
    if (rest === 0) {
      this.#attached.receive(frame.bytes, { messagingFrame: frame })
      return
    }
    const stream = new ContentStream(rest, () => this.#resumeReading())
    this.#incoming = stream
    stream.once('close', () => this.#resumeReading())
    this.#attached.receive(frame.bytes, { messagingFrame: { ...frame, content: stream } })
    this.#attached.settled(() => stream.settle())
  }

  #append(piece: Buffer): void {
    const incoming = this.#incoming!
    // Once its reader has failed, the rest is discarded.
    if (!incoming.destroyed && !incoming.push(piece)) {
      this.#shouldPause = true
      this.#flow()
    }
    if (this.#parser.rest > 0) return
    incoming.push(null)
    this.#incoming = undefined
    this.#watchdog.stop()
  }

  #resumeReading(): void {
    if (!this.#shouldPause) return
    this.#shouldPause = false
    this.#flow()
  }

  /** A header or content that has begun must go on in time. While the socket is paused, no time passes. */
  #setDeadline(): void {
    if (this.#isPaused || this.#shouldPause || this.#isOver) return
    const { isInHeader, isIdle } = this.#parser
    if (isIdle || isInHeader !== this.#isHeaderDeadline) this.#watchdog.stop()
    if (isIdle || this.#watchdog.isRunning) return
    const { headerTimeout, idleTimeout } = this.#options
    this.#isHeaderDeadline = isInHeader
    this.#watchdog.start(isInHeader ? headerTimeout : idleTimeout)
  }

  #onStall(): void {
    const { headerTimeout, idleTimeout } = this.#options
    const reason = this.#isHeaderDeadline
      ? `a header was not complete within ${headerTimeout / 1000} seconds`
      : `a content did not go on for ${idleTimeout / 1000} seconds`
    this.#refuse(POLICY, reason)
  }

  #abandon(): void {
    this.#incoming?.destroy(new Error('the connection has ended'))
    this.#incoming = undefined
  }

  #refuse(code: number, reason: string): void {
    this.#isOver = true
    this.#options.onRefused(reason, this.remote)
    this.#attached.client.disconnect(code, reason)
  }

  #closed(): void {
    this.#watchdog.stop()
    this.#abandon()
    // The peer has ended its side after a complete frame.
    if (!this.#isOver && this.socket.readableEnded && this.#parser.isIdle)
      this.#ending = { code: NORMAL, reason: '', clean: true }
    const { code, reason, clean } = this.#ending
    this.#attached.closed(code, reason, clean)
  }
}
