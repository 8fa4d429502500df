import type { Duplex } from 'node:stream'
import type { Counters } from '../contract/metrics.ts'
import type { Transport } from '../contract/transport.ts'
import { acceptedBytes } from '../kit/accepted-bytes.ts'
import { compact, join, Span } from './block.ts'
import { count } from './counters.ts'
import { COPY_BELOW, joinSmall } from './pieces.ts'
import type { Frame, Wire } from './wire.ts'

/** Smaller pieces are copied together: a queued piece takes some 400 bytes of overhead, which no limit counts. */
const SMALL = 4096

/** Milliseconds without progress after which a client above the limit is slow, and the multiple of the limit that is never waited for. */
const STALLED_MS = 5000
/** The most that counts between two observations: while the event loop is blocked, no client can make progress. */
const MAX_STEP_MS = 250
const MAX_BURST = 4

/** Shared by all empty outboxes. */
const NO_FRAMES: readonly Frame[] = []
const NO_SEQS: readonly number[] = []
const NO_TOPICS: never[] = []

export interface SendLimits {
  /** High-water mark in bytes per client; `limits['max-buffered']` of a filter raises it. */
  readonly maxBuffered: number
  /** Policy for clients above the high-water mark. */
  readonly slowClients: 'close' | 'drop'
}

export interface OutboxOwner {
  /** Called once when the high-water mark is exceeded; the outbox is closed. */
  fellBehind(): void
  /** Called when frames cannot be written: the client MUST end, since it would miss them. */
  transportFailed(error: unknown): void
}

/** The queued frames of one client, each with its sequence number (`seq`), by which they are merged with broadcasts. */
export class Outbox<T = unknown> {
  wire: Wire
  /** Frames for this client alone. */
  frames: readonly Frame[] = NO_FRAMES
  seqs: readonly number[] = NO_SEQS
  /** Bytes in `frames`. */
  bytes = 0
  /** Topics of this member; maintained by `Topic`. */
  topics: T[] = NO_TOPICS
  /** `seq` of the last broadcast that left this client out. */
  exceptedAt = -1
  /** Number of the next message, if the wire is numbered. */
  nextNumber = 0
  /** `sources` counts the topics of this member in flush number `flushed`. */
  flushed = 0
  sources = 0
  readonly #owner: OutboxOwner
  readonly #limits: SendLimits
  readonly #counters: Counters
  #socket: Duplex | undefined
  #drained: Promise<void> | undefined
  /** Bytes of the one message above the limit that may be in flight; it does not count towards the limit. */
  #oversize = 0
  /** Bytes handed to the socket, and of these what the operating system had accepted when the limit was last found exceeded. */
  #handed = 0
  #accepted = 0
  /** When that was, and milliseconds without progress until then. */
  #observedAt = 0
  #stalledMs = 0

  constructor(wire: Wire, limits: SendLimits, counters: Counters, owner: OutboxOwner) {
    this.wire = wire
    this.#limits = limits
    this.#counters = counters
    this.#owner = owner
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** Bytes not yet written to the operating system, without the broadcasts of this turn. */
  get unsent(): number {
    return this.bytes + (this.#socket?.writableLength ?? 0)
  }

  /** Settles when the socket is below its own high-water mark, or closed. */
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

  /** The last frames, if nothing was queued behind them and no broadcast was sent since their first one. */
  lastSpan(lastBroadcast: number): Span | undefined {
    const last = this.frames.at(-1)
    return last instanceof Span && this.seqs.at(-1)! > lastBroadcast ? last : undefined
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

  /** Ends this client: its frames cannot be written. */
  fail(error: unknown): void {
    this.#owner.transportFailed(error)
  }

  /** Discards the queue and stops writing. */
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

  /** Writes one piece that contains `frames` frames. */
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
   * Writes several pieces in one system call.
   *
   * @param largestFrame - in bytes. Default: each piece is a frame.
   */
  writeAll(pieces: readonly Buffer[], bytes: number, frames: number, largestFrame?: number): void {
    if (pieces.length === 1) {
      this.write(pieces[0]!, frames)
      return
    }
    const socket = this.#writable(frames)
    if (socket === undefined) return
    try {
      if (bytes < COPY_BELOW) {
        this.#hand(socket, join(pieces, bytes))
      } else {
        socket.cork()
        const handed = joinSmall(pieces, SMALL, COPY_BELOW)
        const largest = largestFrame ?? Math.max(...pieces.map(({ length }) => length))
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
    const { slowClients, maxBuffered } = this.#limits
    if (slowClients === 'drop' && socket.writableLength - this.#oversize > maxBuffered) {
      count(this.#counters.drops, 'slow client', frames)
      return undefined
    }
    return socket
  }

  #hand(socket: Duplex, piece: Buffer): void {
    if (piece.length > this.#limits.maxBuffered && this.#oversize === 0) {
      this.#oversize = piece.length
      this.#handLast(socket, piece)
    } else if (socket.writableLength === 0) socket.write(piece)
    // Behind others it waits: it must not keep more memory than it is counted for.
    else socket.write(compact(piece))
  }

  /** Writes the last piece of a message above the limit. */
  #handLast(socket: Duplex, piece: Buffer): void {
    socket.write(piece, () => {
      this.#oversize = 0
    })
  }

  #settle(socket: Duplex, bytes: number, frames: number): void {
    this.#handed += bytes
    this.#counters.bytesOut += bytes
    this.#counters.deliveries += frames
    const { slowClients, maxBuffered } = this.#limits
    const waiting = socket.writableLength - this.#oversize
    if (waiting <= maxBuffered) this.#stalledMs = 0
    else if (slowClients === 'close' && (waiting > MAX_BURST * maxBuffered || this.#isStalled(socket))) {
      this.close()
      this.#owner.fellBehind()
    }
  }

  /** Whether the client, which is above the limit, has taken nothing for a while: a burst alone makes no client slow. */
  #isStalled(socket: Duplex): boolean {
    const known = acceptedBytes(socket)
    const accepted = Number.isNaN(known) ? this.#handed - socket.writableLength : known
    const now = performance.now()
    const isProgress = accepted > this.#accepted
    this.#stalledMs = isProgress ? 0 : this.#stalledMs + Math.min(now - this.#observedAt, MAX_STEP_MS)
    this.#accepted = accepted
    this.#observedAt = now
    return this.#stalledMs > STALLED_MS
  }
}
