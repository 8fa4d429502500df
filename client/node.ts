export { Connection, type ConnectionEvents, type ConnectionState, type ConnectOptions } from './connection.ts'
export type { Sendable } from './queue.ts'

import { Connection, type ConnectOptions, type SocketClass } from './connection.ts'
import { GatheringSocket } from './gathering-socket.ts'

/** As in browsers, with the WebSocket of `ws`: Node 20 has none of its own. */
export function connect(url: string | URL, options: ConnectOptions = {}): Connection {
  return new Connection(String(url), { WebSocket: GatheringSocket as unknown as SocketClass, ...options })
}
