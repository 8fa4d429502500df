import type { IncomingMessage } from 'node:http'
import { hasBody } from '../kit/request-body.ts'

/** Whether a request offers WebSocket, alone or in a list of protocols (RFC 9110, section 7.8). */
export function offersWebSocket({ headers }: IncomingMessage): boolean {
  const offered = headers.upgrade!
  return offered === 'websocket' || offered.split(',').some(name => name.trim().toLowerCase() === 'websocket')
}

/**
 * The bytes of a request without the protocol that it offers, for a server that ignores the offer (RFC 9110, section 7.8).
 *
 * With `Connection: close`: the client may already speak the other protocol behind the request.
 *
 * @param head - the bytes that came behind the header: the start of the body, if there is one.
 */
export function withoutOffer(req: IncomingMessage, head: Buffer): Buffer {
  const { method, url, httpVersion, rawHeaders } = req
  const fields = rawHeaders.flatMap((name, i) =>
    i % 2 === 1 || name.toLowerCase() === 'upgrade' ? [] : [`${name}: ${rawHeaders[i + 1]}\r\n`],
  )
  const header = `${method} ${url} HTTP/${httpVersion}\r\n${fields.join('')}Connection: close\r\n\r\n`
  // Node reads headers as Latin-1.
  return Buffer.concat([Buffer.from(header, 'latin1'), hasBody(req) ? head : Buffer.alloc(0)])
}
