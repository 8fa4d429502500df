import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** Unanswered requests per connection; a connection with more is destroyed. */
const MAX_PIPELINED = 32

/** A request until its response is complete or its connection has ended. */
export class PendingRequest {
  isOver = false
  readonly #handlers = new Set<() => void>()

  /** Calls the handler once at the end; returns the function that removes it. */
  onEnd(handler: () => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  end(): void {
    this.isOver = true
    for (const handler of this.#handlers) handler()
    this.#handlers.clear()
  }
}

/** The unanswered requests of each connection. */
export class PendingRequests {
  readonly #bySocket = new Map<Duplex, Set<PendingRequest>>()
  readonly #byRequest = new WeakMap<IncomingMessage, PendingRequest>()
  readonly #watched = new WeakSet<Duplex>()
  #whenAnswered: (() => void) | undefined

  /** Whether the connection has an unanswered request. */
  has(socket: Duplex): boolean {
    return this.#bySocket.has(socket)
  }

  /** Finds a request that was added, answered or not. */
  find(req: IncomingMessage): PendingRequest | undefined {
    return this.#byRequest.get(req)
  }

  /** Adds a request until its response is closed; destroys the connection and returns false if it has too many. */
  add(req: IncomingMessage, res: ServerResponse): boolean {
    const { socket } = req
    const requests = this.#bySocket.get(socket) ?? new Set()
    if (requests.size >= MAX_PIPELINED) {
      socket.destroy()
      return false
    }
    const request = new PendingRequest()
    this.#byRequest.set(req, request)
    this.#bySocket.set(socket, requests.add(request))
    res.once('close', () => this.#end(socket, [request]))
    if (!this.#watched.has(socket)) {
      this.#watched.add(socket)
      // Queued responses do not emit `close` when the connection ends.
      socket.once('close', () => this.#end(socket, [...(this.#bySocket.get(socket) ?? [])]))
    }
    return true
  }

  /** Settles when all requests are answered. Called once. */
  answered(): Promise<void> {
    if (this.#bySocket.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#whenAnswered = resolve
    })
  }

  #end(socket: Duplex, ended: readonly PendingRequest[]): void {
    const requests = this.#bySocket.get(socket)
    for (const request of ended) if (requests?.delete(request)) request.end()
    if (requests?.size === 0) this.#bySocket.delete(socket)
    if (this.#bySocket.size === 0) this.#whenAnswered?.()
  }
}
