export { Connection, type ConnectionEvents, type ConnectionState, type ConnectOptions } from './connection.ts'
export type { Sendable } from './queue.ts'

import { Connection, type ConnectOptions } from './connection.ts'

/**
 * Connects, and reconnects when the connection breaks.
 *
 * @param url - `ws:` or `wss:`.
 * @example
 * const connection = connect('wss://example.com')
 * connection.on('message', show)
 * connection.send('hello')
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Connection {
  return new Connection(String(url), options)
}
