/** Readiness of a server, by parts. */
export interface Checks {
  /** The port is open. */
  readonly listening: boolean
  /** New clients are accepted: the server is not draining. */
  readonly accepting: boolean
  /** The storage is ready: `sending`, `receiving` and `writing`. */
  readonly storage: boolean
  readonly sending: boolean
  readonly receiving: boolean
  readonly writing: boolean
}

/** Call counts of one handler. Calls that are in no other total have passed or are in progress. */
export interface HandlerCounts {
  readonly chain: string
  /** The filter's name as in `-f`, and its position there, from 0. */
  readonly filter: string
  readonly order: number
  readonly calls: number
  readonly rewritten: number
  readonly dropped: number
  readonly failed: number
}

/** Running totals of kept topics. */
export interface StreamTotals {
  /** Entries that were appended, that the storage refused because a stream is full, and that waited for it in vain. */
  appended: number
  refused: number
  unsent: number
  /** Clients that got all that they had missed. */
  recovered: number
  /** Entries whose announcement did not arrive, and that were read. */
  healed: number
  /** Reads of streams. */
  reads: number
  /** Losses that clients were informed of, by reason: of one client that returns, or of a topic. */
  readonly lost: Record<string, number>
}

/** Running totals of one server. */
export interface Counters {
  /** Clients opened and closed since the start. */
  opened: number
  closed: number
  /** Messages received, and their bytes. */
  messages: number
  bytesIn: number
  /** Bytes written to sockets, including frame headers. */
  bytesOut: number
  /** Messages addressed to clients: a broadcast to n clients counts n. */
  deliveries: number
  /** Errors contained in filters, codecs and timers. */
  errors: number
  /** Pauses of a socket because its client's mailbox was full. */
  paused: number
  /** Events from channels of the storage. */
  events: number
  /** Messages that the storage accepted for other nodes, and messages that it refused at once or later. */
  nodesOut: number
  nodesUnsent: number
  /** Messages received from other nodes, and messages lost on the way, detected by a gap in the sequence numbers. */
  nodesIn: number
  nodesLost: number
  /** Envelopes from other nodes that could not be read. */
  nodesRefused: number
  /** Bytes dropped on standard output because the reader was too slow. */
  stdoutDropped: number
  /** Messages dropped, by reason; at most 100 reasons, the rest under `other`. */
  readonly drops: Record<string, number>
  /**
   * Refused handshakes and requests, by HTTP status. Connections closed before their first byte was read: `connection limit`, see
   * `--max-clients`, and `accept handler`.
   */
  readonly refusals: Record<string, number>
  /** Clients closed, by close code. Codes of a peer beyond 1015 are counted as `3xxx` and `4xxx`. */
  readonly closes: Record<string, number>
  readonly streams: StreamTotals
  /** Failed TLS handshakes, by error code; at most 100 codes, the rest under `other`. */
  readonly tlsFailures: Record<string, number>
}
