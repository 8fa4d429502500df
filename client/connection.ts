import { listeners } from './listeners.ts'
import { queueOf, type Sendable } from './queue.ts'
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
export interface Connection {
  readonly url: string
  readonly state: ConnectionState
  /** Messages that wait for a connection. */
  readonly queued: number
  /** Bytes that the platform has not sent yet. */
  readonly bufferedAmount: number
  /**
   * Adds a listener. An error that a listener throws is reported as an uncaught error and does not reach other listeners.
   *
   * @returns removes the listener.
   */
  on<E extends keyof ConnectionEvents>(type: E, listener: (event: ConnectionEvents[E]) => void): () => void
  /**
   * Sends a message, or queues it while there is no connection.
   *
   * @returns `false`: the connection is closed or the queue is full, and the message is discarded.
   * @throws TypeError when the data is neither a string, an ArrayBuffer nor a view.
   */
  send(data: Sendable): boolean
  /** As `send`, but returns `false` while there is no connection, for messages that would be useless later. */
  sendNow(data: Sendable): boolean
  /**
   * Closes the connection, discards queued messages and does not reconnect.
   *
   * @param code - default: 1000.
   * @throws as `WebSocket.close` for an invalid code or reason; the connection then stays open.
   */
  close(code?: number, reason?: string): void
}

/**
 * Connects, and reconnects when the connection breaks.
 *
 * @param url - `ws:` or `wss:`.
 * @param codeOf - converts a close code of another protocol to the one of `fws-server` with the same meaning.
 * @example
 * const connection = connect('wss://example.com')
 * connection.on('message', show)
 * connection.send('hello')
 */
export function connect(
  url: string | URL,
  options: ConnectOptions = {},
  codeOf?: (code: number) => number,
): Connection & Pick<ReconnectingSocket, 'drop'> {
  const { maxQueued = 1000, maxQueuedBytes = 1_048_576, outgoing } = options
  const queue = queueOf(maxQueued, maxQueuedBytes)
  const { add: on, emit } = listeners<ConnectionEvents>()
  let convert = unchanged
  const socket = reconnectingSocket(
    String(url),
    options,
    (type, event) => {
      if (type === 'open') {
        convert = outgoing?.() ?? unchanged
        for (const data of queue.drain()) socket.send(convert(data))
      }
      if (socket.state === 'closed') queue.drain()
      emit(type, event)
    },
    codeOf,
  )

  function sendNow(data: Sendable): boolean {
    if (typeof data !== 'string' && !(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data))
      throw TypeError('send() takes a string, an ArrayBuffer or a view')
    return socket.state === 'open' && socket.send(convert(data))
  }

  // `state`, `bufferedAmount` and `drop` are those of the socket.
  const own = {
    url: String(url),
    get queued() {
      return queue.length
    },
    on,
    send: (data: Sendable) => sendNow(data) || (socket.state !== 'closed' && queue.add(data)),
    sendNow,
    close(code?: number, reason?: string) {
      socket.close(code, reason)
      queue.drain()
    },
  }
  return Object.setPrototypeOf(own, socket)
}

const unchanged = (data: Sendable): Sendable => data
