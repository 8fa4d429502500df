import {
  type ConnectionState,
  type LastingSocket,
  lastingSocket,
  type SocketEvents,
  type SocketOptions,
} from './lasting-socket.ts'
import { listeners } from './listeners.ts'
import { Queue, type Sendable } from './queue.ts'

export type { ConnectionState, Socket, SocketClass } from './lasting-socket.ts'

export interface ConnectOptions extends SocketOptions {
  /** What may wait while there is no connection; default 1,000 messages and 1 MiB. */
  readonly maxQueued?: number
  readonly maxQueuedBytes?: number
  /**
   * Asked at each opening for what every message passes right before it goes out, those that waited too: for protocols
   * that number the messages of a connection.
   */
  readonly outgoing?: () => (data: Sendable) => Sendable
}

export type ConnectionEvents = SocketEvents

/**
 * A WebSocket connection that comes back by itself: messages sent meanwhile wait, within bounds, and go out in order.
 * What was under way when a connection broke may be lost; nothing is sent twice.
 */
export class Connection {
  readonly url: string
  readonly #queue: Queue
  readonly #listeners = listeners<ConnectionEvents>()
  readonly #socket: LastingSocket
  #outgoing = asItIs

  /** @param url - `ws:` or `wss:`. Use `connect`. */
  constructor(url: string, options: ConnectOptions = {}) {
    this.url = url
    this.#queue = new Queue(options.maxQueued ?? 1000, options.maxQueuedBytes ?? 1_048_576)
    this.#socket = lastingSocket(url, options, (type, event) => {
      if (type === 'open') {
        this.#outgoing = options.outgoing?.() ?? asItIs
        for (const data of this.#queue.take()) this.#socket.send(this.#outgoing(data))
      }
      if (this.state === 'closed') this.#queue.take()
      this.#listeners.tell(type, event)
    })
  }

  get state(): ConnectionState {
    return this.#socket.state
  }

  /** Messages that wait for a connection. */
  get queued(): number {
    return this.#queue.length
  }

  /** Bytes handed to the connection that it has not sent. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  /** Answers how to stop listening. */
  on<E extends keyof ConnectionEvents>(type: E, listener: (event: ConnectionEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /** Sends, now or when there is a connection. `false`: closed, or too much waits already, and it is not sent. */
  send(data: Sendable): boolean {
    return this.sendNow(data) || (this.state !== 'closed' && this.#queue.add(data))
  }

  /** Sends, or answers `false` where there is no connection: what would be worth nothing later does not wait. */
  sendNow(data: Sendable): boolean {
    if (!isSendable(data)) throw new TypeError('send() takes a string, an ArrayBuffer or a view of one')
    return this.state === 'open' && this.#socket.send(this.#outgoing(data))
  }

  /** For good. */
  close(code = 1000, reason = ''): void {
    this.#socket.close(code, reason)
    this.#queue.take()
  }
}

const asItIs = (data: Sendable): Sendable => data

function isSendable(data: unknown): boolean {
  return typeof data === 'string' || data instanceof ArrayBuffer || ArrayBuffer.isView(data)
}
