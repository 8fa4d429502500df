export * from '../media.ts'

import type { ConnectOptions } from '../client.ts'
import { connect } from '../node.ts'
import { MediaConnection } from './connection.ts'

/** As in browsers, with the WebSocket of `ws`: Node 20 has none of its own. */
export function connectMedia(url: string | URL, options: Omit<ConnectOptions, 'outgoing'> = {}): MediaConnection {
  return new MediaConnection(outgoing => connect(url, { ...options, outgoing }))
}
