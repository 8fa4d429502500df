import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { FwsError, messageOf } from '../contract/errors.ts'
import { formatEndpoint } from '../kit/endpoint.ts'
import { listen } from '../kit/listen.ts'

/** Owner and group: a proxy in the same group can connect. */
const SOCKET_MODE = 0o660
/** Bytes of a socket path on Linux (unix(7)). */
const MAX_PATH = 107
const BACKLOG = 1024

/** The path of a Unix socket: a host that begins with `unix:` or has a slash; `undefined` for a name or an address. */
export function socketPath(host: string): string | undefined {
  return host.startsWith('unix:') || host.includes('/') ? host.replace(/^unix:/, '') : undefined
}

/**
 * Listens on a port, or on a Unix socket with mode 0660; a socket file whose server has died is replaced.
 *
 * @param host - a name, an address (IPv6 with or without brackets), or the path of a Unix socket; then `port` is not used.
 * @throws (rejects) FwsError `ERR_LISTEN`: port or socket taken, no permission, no such address.
 */
export async function listenOn(server: Server, host: string, port: number): Promise<void> {
  const path = socketPath(host)
  try {
    if (path !== undefined) await listenAt(server, path)
    else await listen(server, { host, port, backlog: BACKLOG }, { port: '--port', host: '--host' })
  } catch (error) {
    server.close()
    const message =
      path === undefined
        ? messageOf(error)
        : `cannot listen on ${path}: ${problemOf(error as NodeJS.ErrnoException, path)}`
    throw new FwsError('ERR_LISTEN', message, error)
  }
}

/** The URL that clients connect to: `ws://127.0.0.1:9000`, `ws+unix:/run/fws.sock`. */
export function urlOf(server: Server, scheme: 'ws' | 'wss'): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return `${scheme}+unix:${bound ?? ''}`
  return `${scheme}://${formatEndpoint({ host: bound.address, port: bound.port })}`
}

async function listenAt(server: Server, path: string): Promise<void> {
  // Node cuts a longer path, and listens on another one.
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new Error(`the path of a socket has at most ${MAX_PATH} bytes, this one ${Buffer.byteLength(path)}`)
  await removeStale(path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  chmodSync(path, SOCKET_MODE)
}

/** Removes the socket file of a server that has died: a connection to it is refused. Other files stay, and listening fails. */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return
  const isStale = await new Promise<boolean>(resolve => {
    const socket = connect(path, () => resolve(false))
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
    socket.on('connect', () => socket.destroy())
  })
  if (isStale) unlinkSync(path)
}

function problemOf(error: NodeJS.ErrnoException, path: string): string {
  // Node reports EACCES for this.
  if (!existsSync(dirname(path))) return `the folder ${dirname(path)} does not exist`
  return error.code === 'EADDRINUSE'
    ? 'another server listens there, or the file is not a socket; choose another path with --host'
    : messageOf(error)
}
