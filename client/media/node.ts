export * from '../media.ts'

import type { ConnectOptions } from '../client.ts'
import { connect } from '../node.ts'
import { MediaConnection } from './connection.ts'

/** As in browsers, with the WebSocket of the package `ws`, because Node 20 has none. */
export function connectMedia(url: string | URL, options: Omit<ConnectOptions, 'outgoing'> = {}): MediaConnection {
  return new MediaConnection(outgoing => connect(url, { ...options, outgoing }))
}
