/** What a server needs to be of use. */
export interface Checks {
  /** Connections are taken. */
  readonly listening: boolean
  /** Not draining. */
  readonly accepting: boolean
  /** The storage is ready: all of those that follow. */
  readonly storage: boolean
  readonly sending: boolean
  readonly receiving: boolean
  readonly writing: boolean
}

/** Calls of one handler; those that are in no other total have passed, or are still under way. */
export interface HandlerCounts {
  readonly chain: string
  /** The filter's name as the operator wrote it, and its place in `-f` from 0. */
  readonly filter: string
  readonly order: number
  readonly calls: number
  readonly rewritten: number
  readonly dropped: number
  readonly failed: number
}

/** Running totals of one server. */
export interface Counters {
  /** Clients opened and closed since the start. */
  opened: number
  closed: number
  /** Messages received, and bytes in them. */
  messages: number
  bytesIn: number
  /** Bytes handed to sockets, frame headers included. */
  bytesOut: number
  /** Messages addressed to clients: a broadcast to n clients counts n. */
  deliveries: number
  /** Errors contained in filters, codecs and timers. */
  errors: number
  /** Times that a socket was paused because its client's mailbox was full. */
  paused: number
  /** Events that a channel delivered. */
  events: number
  /** Messages handed to the storage for other nodes; those that it could not accept now, or refused after they were handed to it. */
  nodesOut: number
  nodesUnsent: number
  /** Messages that came from other nodes; those of which a gap in their numbers tells that they never came. */
  nodesIn: number
  nodesLost: number
  /** What came from other nodes and could not be read. */
  nodesRefused: number
  /** Bytes of standard output that nobody read in time. */
  stdoutDropped: number
  /** Messages that went no further, by reason; at most 100 reasons, the rest under `other`. */
  readonly drops: Record<string, number>
  /** Handshakes refused, by HTTP status. */
  readonly refusals: Record<string, number>
  /** Clients closed, by close code. */
  readonly closes: Record<string, number>
  /** TLS handshakes failed, by error code; at most 100 codes, the rest under `other`. */
  readonly tlsFailures: Record<string, number>
}
