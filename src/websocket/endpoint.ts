import type { Duplex } from 'node:stream'
import type { Transport } from '../contract/transport.ts'
import { compact } from '../fanout/block.ts'
import { controlFrame } from '../fanout/frame.ts'
import { acceptedBytes } from '../kit/accepted-bytes.ts'
import type { Heartbeat, Pinged } from '../kit/heartbeat.ts'
import type { ServerClient } from '../peer/client.ts'
import { closeFrame } from './close-frame.ts'
import { PING, PONG } from './opcodes.ts'
import { FrameParser, type FrameSink } from './parser.ts'

/** Milliseconds for the peer's answer to a Close frame, and for the answers to messages that came before its own. */
const CLOSE_TIMEOUT = 10_000
/** Once a rule is broken: milliseconds until the connection is cut, and bytes that are still read. */
const BROKEN_TIMEOUT = 1000
const BROKEN_BYTES = 65_536
/** Close codes for broken rules. */
const BROKEN_RULES: ReadonlySet<number | undefined> = new Set([1002, 1007, 1008, 1009, 1013])

const PING_FRAME = controlFrame(PING)

/** A socket or a tap; `isReadPaused` while a data filter pauses it. */
export type ByteStream = Duplex & {
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly isReadPaused?: boolean
  setTimeout(ms: number): unknown
  setNoDelay(noDelay: boolean): unknown
}

/** Options that all endpoints of a server share. */
export interface EndpointOptions {
  /** Bytes of one message. */
  readonly maxPayload: number
  /** Control frames per second and connection, twice as many in a burst; 0 disables the limit. */
  readonly maxControl: number
  readonly heartbeat: Heartbeat<Pinged>
}

/** Finds the endpoint of a socket: all sockets share their listeners. */
const ENDPOINT = Symbol('endpoint')
type BoundSocket = ByteStream & { [ENDPOINT]: Endpoint }

/**
 * The server's end of a WebSocket (RFC 6455): reads frames, answers pings, and closes.
 *
 * Reading ends with a Close frame of the peer, with a frame that breaks a rule, or with the end of its stream. The messages before
 * are handled and answered, then this side's Close frame is the last one.
 */
export class Endpoint implements Transport, FrameSink, Pinged {
  readonly name = 'websocket'
  readonly socket: ByteStream
  readonly frame: Transport['frame']
  readonly #client: ServerClient
  readonly #options: EndpointOptions
  readonly #parser: FrameParser
  /** No more messages come. */
  #isReadToEnd = false
  /** No more frames are written. */
  #isWrittenToEnd = false
  /** Code and reason of the peer's Close frame; 1006 until it comes. */
  #code = 1006
  #reason = ''
  /** Code of the Close frame that was sent; 1005 if it had none. */
  #sentCode: number | undefined
  /** Bytes that are still read. */
  #readable = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  /** Thousandths of control frames above the rate, at the time of the last one. */
  #excess = 0
  #controlAt = 0
  /** The last pong, while the socket is full. */
  #nextPong: Buffer | undefined
  /** The peer has closed its side while bytes before wait in the parser. */
  #isEndPending = false

  /** @param windowBits - of the compressed messages of the peer; 0: it sends none. */
  constructor(
    socket: ByteStream,
    client: ServerClient,
    frame: Transport['frame'],
    windowBits: number,
    options: EndpointOptions,
  ) {
    this.socket = socket
    this.frame = frame
    this.#client = client
    this.#options = options
    this.#parser = new FrameParser(this, options.maxPayload, windowBits)
  }

  get remote(): string {
    return this.#client.remote
  }

  /** Opens the client and reads. */
  open(): void {
    const { socket } = this
    ;(socket as BoundSocket)[ENDPOINT] = this
    socket.setTimeout(0)
    socket.setNoDelay(true)
    socket.on('close', onClose).on('end', onEnd)
    this.#options.heartbeat.add(this)
    this.#client.open(this)
    socket.on('data', onData)
  }

  /** Stops reading, also in the middle of a read. */
  pause(): void {
    this.#parser.pause()
    this.socket.pause()
  }

  resume(): void {
    this.#parser.resume()
    // The rest of the last read may have filled the mailbox again.
    if (this.#parser.isPaused) return
    this.socket.resume()
    if (this.#isEndPending) this.readEnd()
  }

  close(code: number, reason: string): void {
    const stated = this.#client.outbox.wire.closing(code, reason)
    this.#close(stated.code, stated.reason, BROKEN_RULES.has(code))
  }

  destroy(): void {
    this.socket.destroy()
  }

  get bytesIn(): number {
    return this.socket.bytesRead
  }

  get bytesOut(): number {
    return acceptedBytes(this.socket)
  }

  get isReadPaused(): boolean {
    return this.socket.isPaused() || this.socket.isReadPaused === true
  }

  ping(): void {
    this.socket.write(PING_FRAME)
  }

  terminate(): void {
    this.socket.destroy()
  }

  onText(payload: string, bytes: number): void {
    this.#client.receive(payload, bytes)
  }

  onBinary(payload: Buffer): void {
    this.#client.receive(payload, payload.length)
  }

  onPing(payload: Buffer): void {
    this.#countControl()
    if (this.#isWrittenToEnd) return
    const { socket } = this
    const pong = controlFrame(PONG, payload)
    if (socket.writableLength === 0) {
      socket.write(pong)
    } else if (!socket.writableNeedDrain) {
      socket.write(compact(pong))
    } else {
      // Only the last ping needs a pong (RFC 6455, section 5.5.3): a peer that does not read gets no queue of them.
      if (this.#nextPong === undefined) socket.once('drain', onDrain)
      this.#nextPong = compact(pong)
    }
  }

  onPong(): void {
    this.#countControl()
  }

  onEmptyFragment(): void {
    this.#countControl()
  }

  onClose(code: number, reason: string): void {
    this.#code = code
    this.#reason = reason
    this.#endReading(() => this.#close(code === 1005 ? undefined : code, reason, false))
  }

  onInvalid(code: number, why: string): void {
    this.#client.hub.log.debug({ client: this.#client.id, code, why }, 'bad frame')
    this.#endReading(() => this.#close(code, '', true))
  }

  /** Data of the socket. */
  read(chunk: Buffer): void {
    this.#readable -= chunk.length
    this.#parser.push(chunk)
    // Not destroyed yet: the peer may still read the Close frame.
    if (this.#readable <= 0) this.socket.pause()
  }

  /** The peer has closed its side of the connection. */
  readEnd(): void {
    if (this.#isReadToEnd) return
    this.#isEndPending = this.#parser.isPaused
    if (this.#isEndPending) return
    this.#parser.stop()
    this.#endReading(() => this.#endWriting())
  }

  drained(): void {
    const pong = this.#nextPong
    this.#nextPong = undefined
    if (pong !== undefined && !this.#isWrittenToEnd) this.socket.write(pong)
  }

  /** The socket is closed. */
  closed(): void {
    clearTimeout(this.#timer)
    this.#parser.stop()
    this.#isReadToEnd = this.#isWrittenToEnd = true
    this.#options.heartbeat.remove(this)
    const isAnswered = this.#code !== 1006
    const code = isAnswered ? this.#code : (this.#sentCode ?? 1006)
    this.#client.closed(code, this.#reason, isAnswered && this.#sentCode !== undefined)
  }

  #countControl(): void {
    const { maxControl } = this.#options
    if (maxControl === 0) return
    const now = Math.floor(performance.now())
    this.#excess = Math.max(0, this.#excess - (now - this.#controlAt) * maxControl) + 1000
    this.#controlAt = now
    if (this.#excess > 2000 * maxControl) this.#client.disconnect(1008, 'too many control frames')
  }

  /** Handles the messages that have come, then calls `then`; after 10 seconds in any case. */
  #endReading(then: () => void): void {
    this.#isReadToEnd = true
    if (this.#isWrittenToEnd) {
      this.#endWriting()
      return
    }
    this.#readable = BROKEN_BYTES
    this.#options.heartbeat.remove(this)
    this.#setTimer(CLOSE_TIMEOUT, () => {
      this.#client.peerCloses()
      then()
    })
    this.#client.finishReading(then)
  }

  /**
   * Sends the Close frame.
   *
   * @param isBroken - whether the peer has broken a rule.
   */
  #close(code: number | undefined, reason: string, isBroken: boolean): void {
    if (this.#isWrittenToEnd) return
    this.#isWrittenToEnd = true
    this.#sentCode = code ?? 1005
    this.#options.heartbeat.remove(this)
    this.#parser.discard()
    this.socket.write(closeFrame(code, reason))
    if (isBroken || this.#isReadToEnd) this.#readable = BROKEN_BYTES
    if (isBroken) this.#setTimer(BROKEN_TIMEOUT, () => this.#cut())
    else this.#setTimer(CLOSE_TIMEOUT, () => this.socket.destroy())
    if (this.#isReadToEnd) this.#endWriting()
  }

  /** Both sides have ended: the TCP connection is closed. */
  #endWriting(): void {
    if (this.socket.destroyed || this.socket.writableEnded) return
    this.#isWrittenToEnd = true
    this.socket.end()
    // The end of the peer's stream.
    this.socket.resume()
    if (this.#sentCode === undefined) this.#setTimer(CLOSE_TIMEOUT, () => this.socket.destroy())
  }

  /** Stops reading. Bytes that are written already, as the Close frame, have the rest of the timeout. */
  #cut(): void {
    if (this.socket.writableLength === 0) {
      this.socket.destroy()
      return
    }
    this.socket.pause()
    this.#setTimer(CLOSE_TIMEOUT - BROKEN_TIMEOUT, () => this.socket.destroy())
  }

  #setTimer(ms: number, then: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(then, ms)
    this.#timer.unref()
  }
}

function onData(this: Duplex, chunk: Buffer): void {
  ;(this as BoundSocket)[ENDPOINT].read(chunk)
}

function onEnd(this: Duplex): void {
  ;(this as BoundSocket)[ENDPOINT].readEnd()
}

function onDrain(this: Duplex): void {
  ;(this as BoundSocket)[ENDPOINT].drained()
}

function onClose(this: Duplex): void {
  ;(this as BoundSocket)[ENDPOINT].closed()
}
