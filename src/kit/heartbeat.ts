import { setImmediate as nextTurn } from 'node:timers/promises'
import { inSlices } from './in-slices.ts'

/** Groups that are checked one after the other within an interval. */
const PARTS = 16
/**
 * Bytes per millisecond of the slowest supported line. A pong waits behind the bytes sent before it, and those that the
 * operating system has accepted may still be in its send buffer. At 4 KiB per second a line of 5 kB per second, such as GPRS or
 * a telemetry radio, is never ended while it makes progress.
 */
const MIN_RATE = 4.096
/** Milliseconds of the longest extension: the send buffer, up to 4 MiB on Linux, at 14 KiB per second. Bounds the life of a lost peer. */
const MAX_EXTRA = 300_000
/** Part of an interval below which an extension is not worth another one. Pings are sent bytes too. */
const TOLERANCE = 1 / 8

/** A connection as `Heartbeat` uses it. Its members MUST NOT throw. */
export interface Pinged {
  /** Bytes received so far. */
  readonly bytesIn: number
  /** Bytes that the operating system has accepted so far; see `acceptedBytes`. */
  readonly bytesOut: number
  /** Not read at present, so its answers are not seen. */
  readonly isReadPaused: boolean
  ping(): void
  terminate(): void
}

/** State of one connection at its last check. */
interface Pulse {
  /** -1 before the first ping, and while the connection is held. */
  bytesIn: number
  bytesOut: number
  /** Milliseconds, beyond one interval, that bytes sent since the last byte received give the peer to answer. */
  extraMs: number
}

/**
 * Pings each connection once per interval, and terminates those of which no byte arrives until the next ping.
 *
 * Bytes sent in the meantime extend that time, by a second per 4 KiB and by at most 5 minutes, since the answer waits behind them.
 * A connection that is held gets a full interval afterwards. One timer serves all connections, in slices of 1 ms, and does not
 * keep the process alive.
 *
 * @example
 * const heartbeat = new Heartbeat<Connection>(30_000)
 * heartbeat.add(connection)
 * socket.once('close', () => heartbeat.remove(connection))
 */
export class Heartbeat<T extends Pinged> {
  readonly #interval: number
  readonly #timer: NodeJS.Timeout | undefined
  /** Several small maps, since a large one stops the process for milliseconds when it grows. */
  readonly #parts: readonly Map<T, Pulse>[] = Array.from({ length: PARTS }, () => new Map())
  #added = 0
  #next = 0
  #isChecking = false

  /** @param intervalMs - 0 disables the heartbeat. */
  constructor(intervalMs: number) {
    this.#interval = intervalMs
    if (intervalMs === 0) return
    this.#timer = setInterval(() => void this.#beat(), intervalMs / PARTS)
    this.#timer.unref()
  }

  add(connection: T): void {
    if (this.#timer === undefined) return
    const { bytesOut } = connection
    this.#parts[this.#added++ % PARTS]!.set(connection, { bytesIn: -1, bytesOut, extraMs: 0 })
  }

  remove(connection: T): void {
    for (const part of this.#parts) if (part.delete(connection)) return
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const part of this.#parts) part.clear()
  }

  async #beat(): Promise<void> {
    // Under overload the intervals become longer.
    if (this.#isChecking) return
    this.#isChecking = true
    const part = this.#parts[this.#next++ % PARTS]!
    // Reads answers that have arrived while the process was busy.
    await nextTurn()
    await inSlices(part, ([connection, pulse]) => {
      if (this.#isAlive(connection, pulse)) return
      part.delete(connection)
      connection.terminate()
    })
    this.#isChecking = false
  }

  #isAlive(connection: T, pulse: Pulse): boolean {
    if (connection.isReadPaused) {
      pulse.bytesIn = -1
      return true
    }
    const { bytesIn, bytesOut } = connection
    // All of them, since they may have been sent after the last byte was received.
    const sentMs = (bytesOut - pulse.bytesOut) / MIN_RATE
    if (bytesIn !== pulse.bytesIn) {
      pulse.bytesIn = bytesIn
      pulse.extraMs = Math.min(MAX_EXTRA, sentMs)
    } else {
      const extraMs = Math.min(MAX_EXTRA, pulse.extraMs + sentMs)
      if (extraMs < this.#interval * TOLERANCE) return false
      pulse.extraMs = extraMs - this.#interval
    }
    pulse.bytesOut = bytesOut
    connection.ping()
    return true
  }
}
