import type { IncomingMessage } from 'node:http'
import type { Handshake } from '../contract/peer.ts'
import { flat } from '../kit/flat.ts'

const MAX_HEADER_FIELDS = 100
export const TOO_MANY_FIELDS = `more than ${MAX_HEADER_FIELDS} header fields`

/** Header fields of the handshake itself, which no filter needs. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-version',
  'upgrade',
])

/** The request as filters see it. The IncomingMessage, 1 KiB of memory, is released once the client is open. */
export class RequestHandshake implements Handshake {
  request: IncomingMessage | undefined
  protocol: string | undefined
  /** The headers as JSON once the request is released: half the memory of the object. */
  #headers = ''
  readonly kind: Handshake['kind']
  readonly #target: string
  readonly #isEncrypted: boolean

  constructor(request: IncomingMessage, kind: Handshake['kind']) {
    this.request = request
    this.kind = kind
    this.#target = request.url!
    this.#isEncrypted = isEncrypted(request)
  }

  get headers(): IncomingMessage['headers'] {
    return this.request?.headers ?? JSON.parse(this.#headers)
  }

  /** Keeps the headers without those of the handshake itself. */
  releaseRequest(): void {
    const kept: IncomingMessage['headers'] = {}
    for (const [name, value] of Object.entries(this.headers)) if (!OWN_FIELDS.has(name)) kept[name] = value
    // Node reads headers as Latin-1.
    this.#headers = flat(JSON.stringify(kept))
    this.request = undefined
  }

  get url(): URL {
    const scheme = this.kind === 'websocket' ? 'ws' : 'http'
    return new URL(`${scheme}${this.#isEncrypted ? 's' : ''}://${this.headers.host}${this.#target}`)
  }

  get protocols(): readonly string[] {
    // A recipient of a list ignores empty elements (RFC 9110, section 5.6.1.2).
    return (this.headers['sec-websocket-protocol'] ?? '').split(',').flatMap(name => name.trim() || [])
  }
}

/** Whether the connection uses TLS terminated by this server. */
export function isEncrypted({ socket }: IncomingMessage): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}

/** Limits the memory of a connection: a header field costs far more than its bytes. */
export function hasTooManyFields({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * MAX_HEADER_FIELDS
}
