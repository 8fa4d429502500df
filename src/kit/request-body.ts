import type { IncomingMessage, RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import { linger } from './linger.ts'

/** Milliseconds between two checks of an answer; without progress between them the connection is destroyed. */
const STALL = 5000

/**
 * Whether a request has a body, or announces one (RFC 9112, section 6.3): Transfer-Encoding, a Content-Length other than
 * `0`, or `Expect: 100-continue`.
 *
 * @example
 * if (hasBody(req)) res.writeHead(413).end()
 */
export function hasBody({ headers }: IncomingMessage): boolean {
  const { 'transfer-encoding': coding, 'content-length': length = '0', expect } = headers
  return coding !== undefined || length !== '0' || expect !== undefined
}

/**
 * Reads the body of a request. Returns `undefined` if it has more than `max` bytes; the rest is not read then.
 *
 * @throws (rejects) Error: the client has gone.
 * @example
 * const body = await readBody(req, 1_048_576)
 * if (body === undefined) respond(res, 413, 'at most 1 MiB')
 */
export async function readBody(req: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  if (Number(req.headers['content-length']) > max) return undefined
  // Otherwise the end of the loop would end the connection, before the answer.
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length
    if (bytes > max) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Wraps the handler of an HTTP server so that a connection ends with the answer to a request whose body has not been read.
 *
 * Without it a peer holds its connection for as long as it sends its body, whatever the answer was. A handler that reads
 * the body to its end before it answers keeps the connection alive, as without this wrapper; any other answer closes it,
 * whatever headers it has:
 *
 * - the answer gets `Connection: close`, unless the handler sets another `Connection`,
 * - requests behind the body are not handled,
 * - a peer that reads nothing of the answer for 5 to 10 seconds is disconnected,
 * - after the answer the peer has 2 seconds to close, see `linger`.
 *
 * @example
 * const http = createServer(closeUnreadBodies((req, res) => res.end('hello')))
 */
export function closeUnreadBodies(handle: RequestListener): RequestListener {
  /** Requests whose body has not been read, by connection. */
  const unread = new WeakMap<Duplex, Unread>()
  return (req, res) => {
    const { socket } = req
    const before = unread.get(socket)
    if (before !== undefined) {
      before.isLast = true
      return
    }
    if (!hasBody(req)) {
      handle(req, res)
      return
    }
    const state: Unread = { isLast: false }
    unread.set(socket, state)
    const { shouldKeepAlive } = res
    res.shouldKeepAlive = false
    const watch = cutOffStalled(socket)
    // What Node calls after the last answer of a connection: it would destroy the socket with bytes of the body unread.
    socket.destroySoon = () => linger(socket)
    req.once('end', () => {
      if (state.isLast || res.headersSent) return
      unread.delete(socket)
      clearInterval(watch)
      res.shouldKeepAlive = shouldKeepAlive
    })
    res.once('finish', () => {
      if (unread.get(socket) !== state) return
      // A handler that has read a part of it has stopped the reading of the socket.
      req.resume()
      linger(socket)
    })
    res.once('close', () => clearInterval(watch))
    handle(req, res)
  }
}

interface Unread {
  /** Another request has come behind the body, and has not been handled. */
  isLast: boolean
}

/** The socket's own timeout does not do: each byte of the body starts it again. */
function cutOffStalled(socket: IncomingMessage['socket']): NodeJS.Timeout {
  let taken = -1
  const watch = setInterval(() => {
    const now = socket.bytesWritten - socket.writableLength
    if (socket.writableLength > 0 && now === taken) socket.destroy()
    if (socket.destroyed) clearInterval(watch)
    taken = now
  }, STALL)
  return watch
}
