import type { IncomingMessage } from 'node:http'
import type { Handshake } from '../contract/peer.ts'
import { flat } from '../kit/flat.ts'
import { isHostHeader } from '../kit/host.ts'
import { hasBody } from '../kit/request-body.ts'

const MAX_HEADER_FIELDS = 100
export const TOO_MANY_FIELDS = `more than ${MAX_HEADER_FIELDS} header fields`

/** What filters ask of the request; the request itself is let go once the client is open: it costs 1 KiB of memory. */
export class RequestHandshake implements Handshake {
  request: IncomingMessage | undefined
  protocol: string | undefined
  /** The headers as JSON, once the request is gone: half as large as the object. */
  #headers = ''
  readonly #target: string
  readonly #scheme: 'ws' | 'wss'

  constructor(request: IncomingMessage) {
    this.request = request
    this.#target = request.url!
    this.#scheme = isEncrypted(request) ? 'wss' : 'ws'
  }

  get headers(): IncomingMessage['headers'] {
    return this.request?.headers ?? JSON.parse(this.#headers)
  }

  /** Lets go of the request. */
  letGo(): void {
    // Node reads headers as Latin-1.
    this.#headers = flat(JSON.stringify(this.headers))
    this.request = undefined
  }

  get url(): URL {
    return new URL(`${this.#scheme}://${this.headers.host}${this.#target}`)
  }

  get protocols(): readonly string[] {
    const offered = this.headers['sec-websocket-protocol']
    return offered === undefined ? [] : offered.split(',').map(name => name.trim())
  }
}

/** What is wrong with the request before it is looked at as a handshake, in one sentence. */
export function malformedOf(req: IncomingMessage): string | undefined {
  const { headers, headersDistinct, httpVersion } = req
  // RFC 6455, section 4.1.
  if (httpVersion !== '1.1') return `a WebSocket handshake is HTTP/1.1, received HTTP/${httpVersion}`
  // What follows the headers would be taken for frames.
  if (hasBody(req)) return 'a WebSocket handshake has no body'
  if (headers.host === undefined) return 'no Host header'
  // A proxy may have looked at another one than we do (RFC 9112, section 3.2).
  if (headersDistinct.host!.length > 1 || !isHostHeader(headers.host)) return 'bad Host header'
  if ((headersDistinct.origin?.length ?? 0) > 1) return 'more than one Origin header'
  return undefined
}

/** Whether it came over TLS that ends here. */
export function isEncrypted({ socket }: IncomingMessage): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}

/** Each costs far more memory than its bytes, for as long as its client is here. */
export function hasTooManyFields({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * MAX_HEADER_FIELDS
}
