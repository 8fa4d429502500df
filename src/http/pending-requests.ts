import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** Unanswered requests per connection; a connection with more is destroyed. */
const MAX_PIPELINED = 32

/** Counts the unanswered requests of each connection. */
export class PendingRequests {
  readonly #bySocket = new Map<Duplex, number>()
  readonly #watched = new WeakSet<Duplex>()
  #whenAnswered: (() => void) | undefined

  /** Whether the connection has an unanswered request. */
  has(socket: Duplex): boolean {
    return this.#bySocket.has(socket)
  }

  /** Counts a request until its response is closed; destroys the connection and returns false if it has too many. */
  add({ socket }: IncomingMessage, res: ServerResponse): boolean {
    if ((this.#bySocket.get(socket) ?? 0) >= MAX_PIPELINED) {
      socket.destroy()
      return false
    }
    this.#count(socket, 1)
    res.once('close', () => this.#count(socket, -1))
    return true
  }

  /** Settles when all requests are answered. Called once. */
  answered(): Promise<void> {
    if (this.#bySocket.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#whenAnswered = resolve
    })
  }

  #count(socket: Duplex, by: number): void {
    if (!this.#watched.has(socket)) {
      this.#watched.add(socket)
      // Queued responses do not emit `close` when the connection ends.
      socket.once('close', () => this.#count(socket, -Infinity))
    }
    const requests = (this.#bySocket.get(socket) ?? 0) + by
    if (requests > 0) this.#bySocket.set(socket, requests)
    else this.#bySocket.delete(socket)
    if (this.#bySocket.size === 0) this.#whenAnswered?.()
  }
}
