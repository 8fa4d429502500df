import { hash } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { extension, PerMessageDeflate, subprotocol } from 'ws'
import type { Refusal } from '../contract/refusal.ts'
import { withoutBadOffers } from './extensions.ts'
import { refusal } from './refusal.ts'

declare module 'ws' {
  // Missing in the types of ws.
  type Parameters = Readonly<Record<string, readonly (string | true)[]>>
  const extension: {
    parse(header: string): Readonly<Record<string, readonly Parameters[]>>
    format(extensions: Readonly<Record<string, unknown>>): string
  }
  const subprotocol: { parse(header: string): ReadonlySet<string> }
  class PerMessageDeflate {
    constructor(options: { serverNoContextTakeover?: boolean; clientNoContextTakeover?: boolean; isServer: boolean })
    accept(offers: readonly Parameters[]): Compression
  }
}

const DEFLATE = 'permessage-deflate'
/** RFC 6455, section 4.2.2. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const MAX_WINDOW = 15
const NO_PROTOCOLS: ReadonlySet<string> = new Set()
const NO_WINDOWS = { server: 0, client: 0 }

/** The parameters of permessage-deflate that both sides use (RFC 7692, section 7). */
interface Compression {
  readonly server_max_window_bits?: number
  readonly client_max_window_bits?: number
}

/** What a handshake offers, once it is parsed. */
export interface Offer {
  readonly protocols: ReadonlySet<string>
  /** `undefined` without compression. */
  readonly compression: Compression | undefined
}

/**
 * Reads what a handshake offers; a header that is malformed is refused.
 *
 * @param compresses - whether this server compresses.
 */
export function readOffer(headers: IncomingHttpHeaders, compresses: boolean): Offer | Refusal {
  const protocols = withoutEmptyElements(headers['sec-websocket-protocol'])
  const extensions = compresses ? headers['sec-websocket-extensions'] : undefined
  let field = 'Protocol'
  try {
    const offered = protocols === undefined ? NO_PROTOCOLS : subprotocol.parse(protocols)
    field = 'Extensions'
    return { protocols: offered, compression: extensions === undefined ? undefined : compressionOf(extensions) }
  } catch {
    return refusal(400, `bad Sec-WebSocket-${field}`)
  }
}

function compressionOf(header: string): Compression | undefined {
  const offers = withoutBadOffers(header)
  const { [DEFLATE]: deflate } = offers === undefined ? {} : extension.parse(offers)
  if (deflate === undefined) return undefined
  // Without context takeover a client needs no compression window between messages.
  const accepts = { serverNoContextTakeover: true, clientNoContextTakeover: true, isServer: true }
  return new PerMessageDeflate(accepts).accept(deflate)
}

/** The windows of both sides in bits; 0: without compression. */
export function windowsOf(compression: Compression | undefined): { readonly server: number; readonly client: number } {
  if (compression === undefined) return NO_WINDOWS
  const { server_max_window_bits: server = MAX_WINDOW, client_max_window_bits: client = MAX_WINDOW } = compression
  return { server, client }
}

/** The response that opens a WebSocket (RFC 6455, section 4.2.2). */
export function switchingProtocols(
  { headers }: IncomingMessage,
  protocol: string | undefined,
  { compression }: Offer,
): string {
  const accept = hash('sha1', headers['sec-websocket-key'] + ACCEPT_SUFFIX, 'base64')
  const selected = protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`
  const extensions =
    compression === undefined ? '' : `Sec-WebSocket-Extensions: ${extension.format({ [DEFLATE]: [compression] })}\r\n`
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${selected}${extensions}\r\n`
}

/**
 * A header without empty elements, which a recipient of a list must ignore (RFC 9110, section 5.6.1.2); `undefined` if no element is
 * left. React Native on iOS sends an empty Sec-WebSocket-Protocol.
 */
function withoutEmptyElements(list: string | undefined): string | undefined {
  if (list === undefined) return undefined
  const elements = list.split(',').flatMap(element => element.trim() || [])
  return elements.length === 0 ? undefined : elements.join(', ')
}
