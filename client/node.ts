export { Connection, type ConnectionEvents, type ConnectionState, type ConnectOptions } from './connection.ts'
export type { Sendable } from './queue.ts'

import { BatchingSocket } from './batching-socket.ts'
import { Connection, type ConnectOptions, type SocketClass } from './connection.ts'

/** As in browsers, with the WebSocket of `ws`, as Node 20 has no WebSocket. */
export function connect(url: string | URL, options: ConnectOptions = {}): Connection {
  return new Connection(String(url), { WebSocket: BatchingSocket as unknown as SocketClass, ...options })
}
