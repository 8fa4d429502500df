import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { readJson } from 'filtered-websocket/kit'
import { type Announcement, readAnnouncement } from '../../protocols/clever-show/announcement.ts'

/** Milliseconds that a timer can hold. */
const MAX_TIMEOUT = 2_147_483_647

/** A server that has announced itself. Nothing proves who said so: TLS, with an authority of your own, does. */
export type Found = Pick<Announcement, 'host' | 'port' | 'id'>

export interface DiscoverOptions {
  /** Default: 8181. */
  readonly port?: number
  /** Address to listen on; default: `0.0.0.0`, all of IPv4. */
  readonly host?: string
  /** Milliseconds to listen; default: 16,000, as long as the original does. */
  readonly timeout?: number
  readonly signal?: AbortSignal
}

/**
 * Listens to UDP until a server announces itself; whatever else comes is ignored.
 *
 * @throws (rejects) an error with code `timeout`; what the system says when the port is taken; the signal's reason.
 */
export async function discover(options: DiscoverOptions = {}): Promise<Found> {
  const { port = 8181, host = '0.0.0.0', timeout = 16_000, signal } = options
  signal?.throwIfAborted()
  if (!(timeout >= 1 && timeout <= MAX_TIMEOUT))
    throw new RangeError(`the timeout of discover() is 1 to ${MAX_TIMEOUT} milliseconds, received ${timeout}`)
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', reuseAddr: true })
  let timer: NodeJS.Timeout | undefined
  let abort = () => {}
  try {
    return await new Promise((resolve, reject) => {
      const why = `no server has announced itself on UDP port ${port} within ${timeout} ms`
      timer = setTimeout(() => reject(Object.assign(new Error(why), { code: 'timeout' })), timeout)
      abort = () => reject(signal!.reason)
      signal?.addEventListener('abort', abort)
      socket.on('error', reject)
      socket.on('message', datagram => {
        const found = readAnnouncement(datagram, readJson)
        if (found !== undefined) resolve({ host: found.host, port: found.port, id: found.id })
      })
      socket.bind(port, host)
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket.close()
  }
}
