export * from '../messaging.ts'
export { type DiscoverOptions, discover, type Found } from './discover.ts'
export { type FolderOptions, folder } from './folder.ts'
export { readFrom, saveTo } from './local.ts'

import { createHash } from 'node:crypto'
import { GatheringSocket } from '../gathering-socket.ts'
import type { SocketClass } from '../lasting-socket.ts'
import { type MessagingConnection, messagingOf, type MessagingOptions as Shared } from './connection.ts'
import { discover as listen } from './discover.ts'
import { type TlsOptions, tcpSocket } from './tcp.ts'

/** Attempts in a row that fail before the server is looked for elsewhere, as the original does. */
const ATTEMPTS = 3
/** Characters of an id. */
const MAX_ID = 128

/** Answers where the server is. */
export type Discover = (options: {
  readonly signal: AbortSignal
}) => Promise<{ readonly host: string; readonly port: number }>

export interface MessagingOptions extends Shared {
  /** Of `tls://`: an authority (`ca`), a certificate of one's own. */
  readonly tls?: TlsOptions
  /**
   * Looks for the server after three attempts in a row over TCP that fail, and connects where that says, over TLS if it did
   * before; `true`: listens to the network for a server that announces itself, which nothing proves. The signal is aborted
   * when the client is closed.
   */
  readonly discover?: true | Discover
  /**
   * Lets the server rename this client, by the original's action `id` with `new_id`, which a server of ours says with
   * `peer(id).emit`: told the new id, to save it; then it connects anew under that one.
   */
  readonly reconfigure?: (id: string) => unknown
}

/** As in browsers, and over TCP: `const copter = connectMessaging('tcp://127.0.0.1:25000', { id: 'copter1' })` */
export function connectMessaging(
  url: string | URL,
  { tls, discover, reconfigure, ...options }: MessagingOptions = {},
): MessagingConnection {
  const server = { isOurs: false, isOriginal: false }
  const Tcp = tcpSocket(tls, server)
  const { WebSocket = GatheringSocket as unknown as SocketClass } = options
  const connection = messagingOf(
    String(url),
    options,
    to => (isTcp(to) ? Tcp : WebSocket),
    () => createHash('sha256'),
  )
  if (discover !== undefined && isTcp(String(url)))
    follow(connection, String(url).split('//')[0]!, discover === true ? listen : discover)
  if (reconfigure !== undefined)
    connection.action('id', async (_args, { new_id: id }, delivery) => {
      // What a server of ours only passes on, of anybody, has no id; in a text of a plain one it would be anybody's.
      if (delivery.id === undefined && !server.isOriginal) throw new Error('an id is given by the server alone')
      if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
        throw new TypeError(`new_id is a text of 1 to ${MAX_ID} characters`)
      await reconfigure(id)
      connection.reload({ id })
    })
  return connection
}

function isTcp(url: string): boolean {
  return /^(?:tcp|tls):/.test(url)
}

/** @param scheme - of the URL, colon included: who was told to use TLS does not leave it. */
function follow(connection: MessagingConnection, scheme: string, discover: Discover): void {
  const over = new AbortController()
  let failed = 0
  connection.on('open', () => {
    // The end of this connection is no attempt that failed.
    failed = -1
  })
  connection.on('close', ({ retryIn }) => {
    if (retryIn === undefined) return over.abort()
    if (++failed % ATTEMPTS !== 0 || failed === 0) return
    discover({ signal: over.signal }).then(
      ({ host, port }) => {
        if (connection.state === 'open' || connection.state === 'closed') return
        connection.reload({ url: `${scheme}//${host.includes(':') ? `[${host}]` : host}:${port}` })
      },
      // Nobody was found; the attempts go on.
      () => {},
    )
  })
}
