import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** The remote end of a connection. */
export interface Peer {
  readonly id: string
  /** IP address; behind a `--trust-proxy` the one that the proxy reports. IPv4 addresses are not written as IPv6. */
  readonly remote: string
  close(): void
}

/** A connection of which no byte has been read; over TLS its handshake has not begun. */
export interface AcceptedConnection {
  /** IP address of the socket, or `unix`. IPv4 addresses are not written as IPv6. */
  readonly remote: string
  /** Calls the handler once, when the connection closes: with or without a handshake, also when it is refused. */
  onClose(handler: () => void): void
}

/** The subject and the issuer of a TLS certificate. */
export interface Certificate {
  /** Attributes such as `CN` and `O`; an array if an attribute occurs several times. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>
  readonly issuer: Readonly<Record<string, string | readonly string[]>>
  /** Hexadecimal. */
  readonly serialNumber: string
  /** SHA-256 of the certificate: hexadecimal bytes separated by colons. */
  readonly fingerprint256: string
  /** Expiry in the format of OpenSSL: `Jan  1 00:00:00 2030 GMT`. */
  readonly validTo: string
}

/** The HTTP request of a client. */
export interface Handshake {
  /**
   * `websocket`: the request became a WebSocket. `stream`: its response is a stream of messages, see `server.admit`. `request`: it gets
   * one response; its client is never open.
   */
  readonly kind: 'websocket' | 'stream' | 'request'
  /** `undefined` once the client is open. */
  readonly request: IncomingMessage | undefined
  readonly url: URL
  /** Parsed on each access once the client is open. */
  readonly headers: IncomingHttpHeaders
  /** Subprotocols offered by the client, in its order. */
  readonly protocols: readonly string[]
  /** The subprotocol to select; set in connect handlers only. Default: the first that the client offers. */
  protocol: string | undefined
}

/** How a connection ended. */
export interface Closed {
  /** Close code (RFC 6455, section 7.4); 1006 if the connection was lost without a Close frame. */
  readonly code: number
  readonly reason: string
  /** Whether both sides sent a Close frame. */
  readonly clean: boolean
}
