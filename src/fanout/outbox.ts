import type { Duplex } from 'node:stream'
import type { Counters } from '../contract/metrics.ts'
import type { Transport } from '../contract/transport.ts'
import { count } from './counters.ts'
import { COPY_BELOW, joinSmall } from './pieces.ts'
import type { Frame, Wire } from './wire.ts'

/** Smaller pieces are copied: a piece that waits takes some 400 bytes besides its own, which no limit counts. */
const SMALL = 4096

/** Shared by all that have nothing to send: most, most of the time. */
const NO_FRAMES: readonly Frame[] = []
const NO_SEQS: readonly number[] = []
const NO_TOPICS: never[] = []

export interface SendLimits {
  /** Bytes that may wait unsent for one client; `limits['max-buffered']` of a filter raises it. */
  readonly maxBuffered: number
  /** What happens to a client that is past it. */
  readonly slowClients: 'close' | 'drop'
}

export interface OutboxOwner {
  /** More than the limit is unsent: called once, the outbox is closed by then. */
  fellBehind(): void
  /** Its socket threw when it was written to. */
  transportFailed(error: unknown): void
}

/**
 * What waits to be sent to one client: finished frames, each with its place (`seq`) among everything that this turn of
 * the event loop sends, so that direct sends and broadcasts keep their order when they are merged.
 */
export class Outbox<T = unknown> {
  wire: Wire
  /** Frames for this client alone. */
  frames: readonly Frame[] = NO_FRAMES
  seqs: readonly number[] = NO_SEQS
  /** Bytes in `frames`. */
  bytes = 0
  /** Topics of which this is a member; kept by them. */
  topics: T[] = NO_TOPICS
  /** `seq` of the last broadcast that left this client out. */
  exceptedAt = -1
  /** Of the next message, if its wire is numbered. */
  nextNumber = 0
  /** In how many of the topics of flush number `flushed` it is. */
  flushed = 0
  sources = 0
  readonly #owner: OutboxOwner
  readonly #limits: SendLimits
  readonly #counters: Counters
  #socket: Duplex | undefined
  #drained: Promise<void> | undefined
  /** Bytes of a message larger than the limit that is under way; only one may be. */
  #oversize = 0

  constructor(wire: Wire, limits: SendLimits, counters: Counters, owner: OutboxOwner) {
    this.wire = wire
    this.#limits = limits
    this.#counters = counters
    this.#owner = owner
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** Bytes not yet handed to the operating system, those of broadcasts of this turn left aside. */
  get unsent(): number {
    return this.bytes + (this.#socket?.writableLength ?? 0)
  }

  /** Settles once the socket has little left to write, or has ended. */
  drained(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined || !socket.writableNeedDrain) return Promise.resolve()
    this.#drained ??= new Promise(resolve => {
      const end = () => {
        socket.off('drain', end).off('close', end)
        this.#drained = undefined
        resolve()
      }
      socket.on('drain', end).on('close', end)
    })
    return this.#drained
  }

  open(transport: Transport): void {
    this.#socket = transport.socket
  }

  add(frame: Frame, seq: number): void {
    if (this.frames.length === 0) {
      this.frames = [frame]
      this.seqs = [seq]
    } else {
      ;(this.frames as Frame[]).push(frame)
      ;(this.seqs as number[]).push(seq)
    }
    this.bytes += frame.length
  }

  /** Forgets what waits; from now on nothing is written. */
  close(): void {
    this.#socket = undefined
    this.clear()
  }

  clear(): void {
    if (this.frames.length === 0) return
    this.frames = NO_FRAMES
    this.seqs = NO_SEQS
    this.bytes = 0
  }

  /** Hands one piece of `frames` finished frames to the socket. */
  write(piece: Buffer, frames: number): void {
    const socket = this.#writable(frames)
    if (socket === undefined) return
    try {
      this.#hand(socket, piece)
    } catch (error) {
      this.#owner.transportFailed(error)
      return
    }
    this.#settle(socket, piece.length, frames)
  }

  /**
   * The same for several pieces, in one system call.
   *
   * @param largest - bytes of the largest frame among them.
   */
  writeAll(pieces: readonly Buffer[], bytes: number, frames: number, largest = 0): void {
    if (pieces.length === 1) {
      this.write(pieces[0]!, frames)
      return
    }
    const socket = this.#writable(frames)
    if (socket === undefined) return
    try {
      if (bytes < COPY_BELOW) {
        this.#hand(socket, Buffer.concat(pieces, bytes))
      } else {
        socket.cork()
        const handed = joinSmall(pieces, SMALL, COPY_BELOW)
        const isOversize = largest > this.#limits.maxBuffered && this.#oversize === 0
        if (isOversize) this.#oversize = largest
        for (const [i, piece] of handed.entries()) {
          if (isOversize && i === handed.length - 1) this.#handLast(socket, piece)
          else this.#hand(socket, piece)
        }
        socket.uncork()
      }
    } catch (error) {
      this.#owner.transportFailed(error)
      return
    }
    this.#settle(socket, bytes, frames)
  }

  #writable(frames: number): Duplex | undefined {
    const socket = this.#socket
    if (socket === undefined || !socket.writable) return undefined
    // Only under the policy `drop`: a client past the limit is closed otherwise.
    if (socket.writableLength - this.#oversize > this.#limits.maxBuffered) {
      count(this.#counters.drops, 'slow client', frames)
      return undefined
    }
    return socket
  }

  #hand(socket: Duplex, piece: Buffer): void {
    if (piece.length <= this.#limits.maxBuffered || this.#oversize > 0) {
      socket.write(piece)
      return
    }
    this.#oversize = piece.length
    this.#handLast(socket, piece)
  }

  /** The last of what is larger than the limit. */
  #handLast(socket: Duplex, piece: Buffer): void {
    socket.write(piece, () => {
      this.#oversize = 0
    })
  }

  #settle(socket: Duplex, bytes: number, frames: number): void {
    this.#counters.bytesOut += bytes
    this.#counters.deliveries += frames
    if (this.#limits.slowClients === 'close' && socket.writableLength - this.#oversize > this.#limits.maxBuffered) {
      this.close()
      this.#owner.fellBehind()
    }
  }
}
