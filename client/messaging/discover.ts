import { createSocket } from 'node:dgram'
import { isIP, isIPv6 } from 'node:net'

/** The action by which a server tells where it is (clever-show-messaging, section 6). */
const ACTION = 'server_ip'
/** Bytes of a datagram: more the original does not read. */
const MAX_BYTES = 1024
/** Bytes of the number in front of a header. */
const LENGTH = 2
const MAX_PORT = 65_535
/** Characters of a name in DNS, and of an id. */
const MAX_NAME = 253
const MAX_ID = 128
const NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i
/** Milliseconds that a timer can hold. */
const MAX_TIMEOUT = 2_147_483_647

/** A server that has announced itself. Nothing proves who said so: TLS, with an authority of your own, does. */
export interface Found {
  /** An IP address or a name. */
  readonly host: string
  readonly port: number
  /** Of the server, as long as it runs. */
  readonly id: string
}

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
        const found = announcedIn(datagram)
        if (found !== undefined) resolve(found)
      })
      socket.bind(port, host)
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket.close()
  }
}

/** What a datagram announces; `undefined`: nothing, or what is not right. */
function announcedIn(datagram: Uint8Array): Found | undefined {
  try {
    const { host, port, id } = kwargsIn(datagram) as Record<string, unknown>
    const number = typeof port === 'string' && /^\d{1,5}$/.test(port) ? Number(port) : 0
    if (typeof host !== 'string' || !isHost(host) || number < 1 || number > MAX_PORT) return undefined
    return { host, port: number, id: typeof id === 'string' ? id.slice(0, MAX_ID) : '' }
  } catch {
    return undefined
  }
}

/** @throws SyntaxError, RangeError, TypeError: it is no such action. */
function kwargsIn(datagram: Uint8Array): unknown {
  if (datagram.length > MAX_BYTES) throw new RangeError(`a datagram of ${datagram.length} bytes`)
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length)
  const end = LENGTH + view.getUint16(0)
  const header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(datagram.subarray(LENGTH, end)))
  if (header.action !== ACTION || header['message-type'] !== 'message' || header['content-type'] !== 'json')
    throw new TypeError('another message')
  if (header['content-length'] !== datagram.length - end) throw new RangeError('not one frame')
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(datagram.subarray(end))).kwargs
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || (text.length <= MAX_NAME && NAME.test(text))
}
