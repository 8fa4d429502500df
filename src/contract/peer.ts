import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** What a peer is before it is a client: bytes on a connection. */
export interface Peer {
  readonly id: string
  /** Its address; a client's behind a `--trust-proxy` is the one that the proxy tells. IPv4 is never written as IPv6. */
  readonly remote: string
  close(): void
}

/** Who holds a TLS certificate, and who says so. */
export interface Certificate {
  /** Attributes such as `CN` and `O`; several values where there are several of a kind. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>
  readonly issuer: Readonly<Record<string, string | readonly string[]>>
  /** Hexadecimal. */
  readonly serialNumber: string
  /** Of the whole certificate: hexadecimal bytes with colons. */
  readonly fingerprint256: string
  /** As OpenSSL writes it: `Jan  1 00:00:00 2030 GMT`. */
  readonly validTo: string
}

/** The HTTP request that became a WebSocket. */
export interface Handshake {
  /** In connect handlers only; `undefined` once the client is open. */
  readonly request: IncomingMessage | undefined
  readonly url: URL
  /** Read anew each time once the client is open. */
  readonly headers: IncomingHttpHeaders
  /** Subprotocols that the client offers, in its order. */
  readonly protocols: readonly string[]
  /** The subprotocol to answer; unset: the client's first. Connect filters only. */
  protocol: string | undefined
}

export interface Closed {
  /** Close code, RFC 6455 section 7.4; 1006 when the connection was lost without a Close frame. */
  readonly code: number
  readonly reason: string
  /** Whether both sides said Close. */
  readonly clean: boolean
}
