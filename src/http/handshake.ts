import type { IncomingMessage } from 'node:http'
import type { Handshake } from '../contract/peer.ts'
import { flat } from '../kit/flat.ts'
import { hostProblem } from '../kit/host.ts'
import { hasBody } from '../kit/request-body.ts'

const MAX_HEADER_FIELDS = 100
export const TOO_MANY_FIELDS = `more than ${MAX_HEADER_FIELDS} header fields`

/** The request as filters see it. The IncomingMessage, 1 KiB of memory, is released once the client is open. */
export class RequestHandshake implements Handshake {
  request: IncomingMessage | undefined
  protocol: string | undefined
  /** The headers as JSON once the request is released: half the memory of the object. */
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

  releaseRequest(): void {
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

/** An error message for a request that is malformed or ambiguous as HTTP. */
export function malformedOf(req: IncomingMessage): string | undefined {
  const { headersDistinct, httpVersion } = req
  // RFC 6455, section 4.1.
  if (httpVersion !== '1.1') return `a WebSocket handshake is HTTP/1.1, received HTTP/${httpVersion}`
  // The body would be parsed as frames.
  if (hasBody(req)) return 'a WebSocket handshake has no body'
  if ((headersDistinct.origin?.length ?? 0) > 1) return 'more than one Origin header'
  return hostProblem(req)
}

/**
 * A header without empty elements, which a recipient of a list must ignore (RFC 9110, section 5.6.1.2); `undefined` if no element is
 * left. React Native on iOS sends an empty Sec-WebSocket-Protocol.
 */
export function withoutEmptyElements(list: string): string | undefined {
  const elements = list.split(',').flatMap(element => element.trim() || [])
  return elements.length === 0 ? undefined : elements.join(', ')
}

/** Whether the connection uses TLS terminated by this server. */
export function isEncrypted({ socket }: IncomingMessage): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}

/** Limits the memory of a connection: a header field costs far more than its bytes. */
export function hasTooManyFields({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * MAX_HEADER_FIELDS
}
