import { createSocket } from 'node:dgram'
import { on } from 'node:events'
import { isIPv6 } from 'node:net'
import { MAX_TIMEOUT, readJson } from 'filtered-websocket/kit'
import { type Announcement, readAnnouncement } from '../../protocols/clever-show/announcement.ts'

/** Address of an announced server. Announcements are not authenticated: connect with TLS and your own authority. */
export type Found = Pick<Announcement, 'host' | 'port' | 'id'>

export interface DiscoverOptions {
  /** UDP port. Default: 8181. */
  readonly port?: number
  /** Address to listen on. Default: `0.0.0.0`, all of IPv4. */
  readonly host?: string
  /** Milliseconds to listen. Default: 16,000, as clever-show. */
  readonly timeout?: number
  readonly signal?: AbortSignal
}

/**
 * Listens on UDP until a server announces itself. Other datagrams are ignored.
 *
 * @throws (rejects) an error with code `timeout`; errors of the system, such as `EADDRINUSE`; the signal's reason.
 * @example
 * const { host, port } = await discover()
 * const copter = connectMessaging(`tcp://${host}:${port}`)
 */
export async function discover(options: DiscoverOptions = {}): Promise<Found> {
  const { port = 8181, host = '0.0.0.0', timeout = 16_000, signal } = options
  signal?.throwIfAborted()
  if (!(timeout >= 1 && timeout <= MAX_TIMEOUT))
    throw new RangeError(`the timeout of discover() is 1 to ${MAX_TIMEOUT} milliseconds, received ${timeout}`)
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', reuseAddr: true }).bind(port, host)
  const expired = AbortSignal.timeout(timeout)
  try {
    const datagrams = on(socket, 'message', {
      signal: signal === undefined ? expired : AbortSignal.any([expired, signal]),
    })
    for await (const [datagram] of datagrams) {
      const found = readAnnouncement(datagram, readJson)
      if (found !== undefined) return { host: found.host, port: found.port, id: found.id }
    }
    throw new Error('the UDP socket was closed')
  } catch (error) {
    signal?.throwIfAborted()
    if (!expired.aborted) throw error
    throw Object.assign(new Error(`no server was announced on UDP port ${port} within ${timeout} ms`), {
      code: 'timeout',
    })
  } finally {
    socket.close()
  }
}
