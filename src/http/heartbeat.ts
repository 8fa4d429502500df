import { WebSocket } from 'ws'
import type { ClientSocket } from './websocket.ts'

/** The sockets are pinged in this many parts, one after the other, so that a ping of all is no burst. */
const PARTS = 8

/**
 * One timer for all connections. Each is pinged once an interval; one that has sent no byte since its last ping is
 * terminated. A socket that we paused ourselves cannot answer, and is left alone.
 */
export class Heartbeat {
  readonly #parts: Set<ClientSocket>[] = Array.from({ length: PARTS }, () => new Set())
  readonly #timer: NodeJS.Timeout | undefined
  #next = 0
  #added = 0

  /** @param intervalMs - 0: no heartbeat. */
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
        // We keep it waiting ourselves: it has a whole interval once it is heard again.
        ws.heard = -1
        continue
      }
      const { bytesRead } = ws.stream!
      if (bytesRead === ws.heard) {
        ws.terminate()
      } else {
        ws.heard = bytesRead
        ws.ping()
      }
    }
    this.#next = (this.#next + 1) % PARTS
  }
}
