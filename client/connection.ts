import { listeners } from './listeners.ts'
import { Queue, type Sendable } from './queue.ts'
import {
  type ConnectionState,
  type ReconnectingSocket,
  reconnectingSocket,
  type SocketEvents,
  type SocketOptions,
} from './reconnecting-socket.ts'

export type { ConnectionState, Socket, SocketClass } from './reconnecting-socket.ts'

export interface ConnectOptions extends SocketOptions {
  /** Messages that may wait while there is no connection. Default: 1,000. */
  readonly maxQueued?: number
  /** Bytes of these messages; a string counts three for each UTF-16 unit. Default: 1 MiB. */
  readonly maxQueuedBytes?: number
  /**
   * Called when a connection opens. The returned function converts each message right before it is sent, queued messages
   * too: for protocols that number the messages of a connection.
   */
  readonly outgoing?: () => (data: Sendable) => Sendable
}

export type ConnectionEvents = SocketEvents

/**
 * A WebSocket connection that reconnects. Messages sent meanwhile are queued within bounds and sent in order. Messages in
 * flight when a connection breaks may be lost; a message is not sent twice.
 */
export class Connection {
  readonly url: string
  readonly #queue: Queue
  readonly #listeners = listeners<ConnectionEvents>()
  readonly #socket: ReconnectingSocket
  #outgoing = unchanged

  /** @param url - `ws:` or `wss:`. Use `connect`. */
  constructor(url: string, options: ConnectOptions = {}) {
    this.url = url
    this.#queue = new Queue(options.maxQueued ?? 1000, options.maxQueuedBytes ?? 1_048_576)
    this.#socket = reconnectingSocket(url, options, (type, event) => {
      if (type === 'open') {
        this.#outgoing = options.outgoing?.() ?? unchanged
        for (const data of this.#queue.drain()) this.#socket.send(this.#outgoing(data))
      }
      if (this.state === 'closed') this.#queue.drain()
      this.#listeners.emit(type, event)
    })
  }

  get state(): ConnectionState {
    return this.#socket.state
  }

  /** Messages that wait for a connection. */
  get queued(): number {
    return this.#queue.length
  }

  /** Bytes that the platform has not sent yet. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  /**
   * Adds a listener. An error that a listener throws is reported as an uncaught error and does not reach other listeners.
   *
   * @returns removes the listener.
   */
  on<E extends keyof ConnectionEvents>(type: E, listener: (event: ConnectionEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /**
   * Sends a message, or queues it while there is no connection.
   *
   * @returns `false`: the connection is closed or the queue is full, and the message is discarded.
   * @throws TypeError when the data is neither a string, an ArrayBuffer nor a view.
   */
  send(data: Sendable): boolean {
    return this.sendNow(data) || (this.state !== 'closed' && this.#queue.add(data))
  }

  /** As `send`, but returns `false` while there is no connection, for messages that would be useless later. */
  sendNow(data: Sendable): boolean {
    if (typeof data !== 'string' && !(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data))
      throw new TypeError('send() takes a string, an ArrayBuffer or a view of one')
    return this.state === 'open' && this.#socket.send(this.#outgoing(data))
  }

  /**
   * Closes the connection, discards queued messages and does not reconnect.
   *
   * @throws as `WebSocket.close` for an invalid code or reason; the connection then stays open.
   */
  close(code = 1000, reason = ''): void {
    this.#socket.close(code, reason)
    this.#queue.drain()
  }
}

const unchanged = (data: Sendable): Sendable => data
