export * from '../messaging.ts'
export { type DiscoverOptions, discover, type Found } from './discover.ts'
export { type FolderOptions, folder } from './folder.ts'
export { readFrom, saveTo } from './local-file.ts'

import { createHash } from 'node:crypto'
import { BatchingSocket } from '../batching-socket.ts'
import type { SocketClass } from '../reconnecting-socket.ts'
import { type MessagingConnection, messagingOf, type MessagingOptions as Shared } from './connection.ts'
import { discover as listen } from './discover.ts'
import * as handlersModule from './handlers.ts'
import { type TlsOptions, tcpSocket } from './tcp.ts'

/** Failed attempts in a row after which the client looks for the server, as clever-show does. */
const ATTEMPTS = 3
/** Characters of an id. */
const MAX_ID = 128

/** Finds the address of the server. */
export type Discover = (options: {
  readonly signal: AbortSignal
}) => Promise<{ readonly host: string; readonly port: number }>

export interface MessagingOptions extends Shared {
  /** For `tls://`: an authority (`ca`), a client certificate. */
  readonly tls?: TlsOptions
  /**
   * Called after three failed attempts in a row over TCP; the client then connects to the address, with the same scheme.
   * `true` calls `discover`, whose announcements are not authenticated. The signal is aborted when the client is closed.
   */
  readonly discover?: true | Discover
  /**
   * Lets the server rename this client with the action `id` of clever-show, `peer(id).emit` in the filter. Called with the
   * new id, to save it; then the client reconnects under that id. An error refuses it. Default: ids do not change.
   */
  readonly reconfigure?: (id: string) => unknown
}

/**
 * As in browsers, and over TCP and TLS.
 *
 * @param url - `ws:`, `wss:`, `tcp:` or `tls:`; the last two need a port.
 * @example
 * const copter = connectMessaging('tcp://127.0.0.1:25000', { id: 'copter1' })
 */
export function connectMessaging(
  url: string | URL,
  { tls, discover, reconfigure, ...options }: MessagingOptions = {},
): MessagingConnection {
  const server = { isKnown: false, isCleverShow: false }
  const Tcp = tcpSocket(tls, server)
  const { WebSocket = BatchingSocket as unknown as SocketClass } = options
  const connection = messagingOf(
    String(url),
    options,
    to => (isTcp(to) ? Tcp : WebSocket),
    () => createHash('sha256'),
    // The server must know the id of a peer on TCP before the peer's first messages.
    handlersModule,
  )
  if (discover !== undefined && isTcp(String(url)))
    follow(connection, String(url).split('//')[0]!, discover === true ? listen : discover)
  if (reconfigure !== undefined)
    connection.action('id', async (_args, { new_id: id }, delivery) => {
      // Actions that the filter relays from other clients have no id, and neither have those of a plain server.
      if (delivery.id === undefined && !server.isCleverShow) throw new Error('only the server can set the id')
      if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
        throw new TypeError(`new_id is a string of 1 to ${MAX_ID} characters`)
      await reconfigure(id)
      connection.reload({ id })
    })
  return connection
}

function isTcp(url: string): boolean {
  return /^(?:tcp|tls):/.test(url)
}

/** @param scheme - of the URL, with its colon; an announcement must not downgrade TLS to TCP. */
function follow(connection: MessagingConnection, scheme: string, discover: Discover): void {
  const closed = new AbortController()
  let failed = 0
  connection.on('open', () => {
    // The end of this connection is not a failed attempt.
    failed = -1
  })
  connection.on('close', ({ retryIn }) => {
    if (retryIn === undefined) return closed.abort()
    if (++failed % ATTEMPTS !== 0 || failed === 0) return
    discover({ signal: closed.signal }).then(
      ({ host, port }) => {
        if (connection.state === 'open' || connection.state === 'closed') return
        connection.reload({ url: `${scheme}//${host.includes(':') ? `[${host}]` : host}:${port}` })
      },
      // The attempts at the old address continue.
      () => {},
    )
  })
}
