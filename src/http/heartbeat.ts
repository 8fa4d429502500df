import { WebSocket } from 'ws'
import type { ClientSocket } from './websocket.ts'

/** Groups that are pinged one after the other within an interval, to avoid bursts. */
const PARTS = 8

/**
 * Pings all connections with one timer, once per interval, and terminates those that have sent no byte since the last ping.
 * Sockets paused by the server are skipped: their answers are not read.
 */
export class Heartbeat {
  readonly #parts: Set<ClientSocket>[] = Array.from({ length: PARTS }, () => new Set())
  readonly #timer: NodeJS.Timeout | undefined
  #next = 0
  #added = 0

  /** @param intervalMs - 0 disables the heartbeat. */
  constructor(intervalMs: number) {
    if (intervalMs === 0) return
    this.#timer = setInterval(() => this.#beat(), intervalMs / PARTS)
    this.#timer.unref()
  }

  add(ws: ClientSocket): void {
    if (this.#timer === undefined) return
    ws.pinged = this.#parts[this.#added++ % PARTS]!
    ws.pinged.add(ws)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    for (const ws of this.#parts[this.#next]!) {
      if (ws.readyState !== WebSocket.OPEN) continue
      if (ws.isPaused || ws.stream!.isHeld) {
        // The peer gets a full interval once the socket is read again.
        ws.bytesAtPing = -1
        continue
      }
      const { bytesRead } = ws.stream!
      if (bytesRead === ws.bytesAtPing) {
        ws.terminate()
      } else {
        ws.bytesAtPing = bytesRead
        ws.ping()
      }
    }
    this.#next = (this.#next + 1) % PARTS
  }
}
