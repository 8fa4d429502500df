import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'

/** Variables of a process by name. */
export type Environment = Readonly<Record<string, string>>

/** Header fields with credentials of the client, and `Proxy`, which would become HTTP_PROXY of a library (CVE-2016-5385). */
const WITHHELD: ReadonlySet<string> = new Set(['authorization', 'proxy', 'proxy-authorization'])

/**
 * The variables that describe a handshake: those of CGI (RFC 3875, section 4.1), and the further ones of websocketd. Called in the
 * connect chain, since the request is released afterwards.
 */
export function environmentOf({ id, remote, handshake }: Client): Environment {
  const environment: Record<string, string> = {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'filtered-websocket',
    REMOTE_ADDR: remote,
    REMOTE_HOST: remote,
    UNIQUE_ID: id,
    AUTH_TYPE: '',
    CONTENT_LENGTH: '',
    CONTENT_TYPE: '',
    REMOTE_IDENT: '',
  }
  if (handshake === undefined) return environment
  const { url, headers, request } = handshake
  const { protocol, hostname, port, pathname, search } = url
  const isEncrypted = protocol === 'wss:' || protocol === 'https:'
  const path = decoded(pathname)
  for (const [name, value] of Object.entries(headers))
    if (/^[a-z0-9-]+$/.test(name) && !WITHHELD.has(name))
      environment[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`] = Array.isArray(value) ? value.join(', ') : value!
  Object.assign(environment, {
    REMOTE_PORT: portOf(remote, request?.socket),
    REQUEST_METHOD: request?.method ?? 'GET',
    REQUEST_URI: pathname + search,
    SCRIPT_NAME: '/',
    PATH_INFO: path,
    PATH_TRANSLATED: path,
    QUERY_STRING: search.slice(1),
    SERVER_NAME: hostname,
    SERVER_PORT: port || (isEncrypted ? '443' : '80'),
    SERVER_PROTOCOL: `HTTP/${request?.httpVersion ?? '1.1'}`,
    ...(isEncrypted && { HTTPS: 'on' }),
  })
  return environment
}

/** Behind a proxy the port is not that of the client. */
function portOf(remote: string, socket: Socket | undefined): string {
  return socket?.remoteAddress?.endsWith(remote) ? String(socket.remotePort) : ''
}

function decoded(path: string): string {
  try {
    const text = decodeURIComponent(path)
    // A variable cannot contain NUL.
    return text.includes('\0') ? path : text
  } catch {
    return path
  }
}
