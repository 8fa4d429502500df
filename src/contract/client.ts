import type { Codec } from './codec.ts'
import type { Awaitable } from './deadline.ts'
import type { Drop } from './drop.ts'
import type { Checks, Counters, HandlerCounts } from './metrics.ts'
import type { Payload } from './payload.ts'
import type { Certificate, Handshake, Peer } from './peer.ts'
import type { Transport } from './transport.ts'

// Clients and the server name each other, so their contracts stand in one file.

/** What filters keep on a client; extended by declaration merging: `interface ClientState { user?: User }`. */
export interface ClientState {
  /** The client certificate, checked against `--ca`; its `CN` is the identity until a filter sets another. */
  certificate?: Certificate
  /**
   * Set by a filter that authenticates with tokens: accepts a later token, for protocols that have a
   * call of their own for it. `DROP`: it has closed the client.
   */
  renewToken?: (token: string, client: Client) => Promise<Renewal | Drop>
}

/** What protocol filters decode from a message: `interface MessageViews { media?: Media }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface MessageViews {}

/** A message as received; views are added by protocol filters. */
export interface Message extends MessageViews {
  readonly payload: Payload
  /** Milliseconds since 1970, at receipt. */
  readonly at: number
}

/** What a client wants with a topic; `undefined`: with everyone. */
export interface Access {
  readonly action: 'join' | 'publish'
  readonly topic: string | undefined
}

export interface Client extends Peer {
  readonly transport: 'websocket' | (string & {})
  /** `undefined` on transports that have none. */
  readonly handshake: Handshake | undefined
  readonly server: Server
  readonly state: ClientState
  /** Who the peer has proven to be, such as a token's `sub`; set by the filter that authenticates it. */
  identity: string | undefined
  readonly topics: ReadonlySet<string>
  /** Bytes accepted for sending and not yet handed to the operating system; broadcasts of this turn are not in it yet. */
  readonly buffered: number
  /** Aborted on disconnect; made on first use. */
  readonly signal: AbortSignal
  /** Payloads as they are, until a protocol filter sets its own. */
  codec: Codec
  /**
   * Sends to this client through its codec; held until the client is open.
   *
   * @param format - what the payload is, if codecs have to know: it reaches the client if its codec reads that.
   */
  send(payload: Payload, format?: string): void
  /** @throws FwsError `ERR_FORBIDDEN` if it may not. Not caught by the filter, it ends the chain, and the client is told. */
  join(topic: string): void
  leave(topic: string): void
  /**
   * Leaves every topic that the permits no longer allow, then runs the `onIdentity` handlers, one after the other. Permits are
   * asked when a client joins, so a filter that changes the identity or the rights of a client MUST call this afterwards.
   * Rights that come back join nothing.
   *
   * @returns a promise that settles when the handlers have; it rejects with the error of the first that fails.
   * @example
   * client.identity = user.id
   * await client.recheck()
   */
  recheck(): Promise<void>
  /**
   * Registers a handler for `recheck`: for filters that keep something that follows from the identity or the rights of the
   * client, such as a room. Registered handlers run in the order of their registration, until the client is gone.
   *
   * @example
   * export const open = client => client.onIdentity(async () => rooms.move(client, client.identity))
   */
  onIdentity(handler: (client: Client) => Awaitable<void>): void
  /**
   * Settles once what was sent to it has gone to the operating system, all but the little that its socket keeps (16 KiB), or
   * once it is gone. Whoever sends much waits for it now and then, so that the client never has more than it can take.
   */
  drained(): Promise<void>
  /** Whether every guard's `permit` agrees. `topic` left out: everyone. */
  may(action: Access['action'], topic?: string): boolean
  /** Sends, and ends the chain. To a client on hold too, so a guard answers with it behind an `await`. */
  answer(payload: Payload, format?: string): Drop
  /** Ends the chain; the reason is counted and shown at debug level, so keep it one of a few fixed texts. */
  drop(reason?: string): Drop
  /** Connect chain only: answers the handshake with an HTTP status instead of 101. */
  refuse(status: number, reason?: string, headers?: Readonly<Record<string, string>>): Drop
  /**
   * Not admitted yet: no broadcast, no topic, and its messages reach no filter after the one that holds it. Open and
   * disconnect handlers of all filters run all the same.
   */
  hold(): void
  /** Ends the hold: of the only holder, or among several of the one whose handler runs, else throws `ERR_STATE`. */
  admit(): void
  /**
   * Before a stop closes the client it waits for this, within `--drain`: for work that goes on beside the chains and has an
   * answer. The client is not read then.
   */
  finish(work: () => Awaitable<void>): void
  /** Closes after everything that was sent, and ends the chain; code defaults to 1000. */
  disconnect(code?: number, reason?: string): Drop
}

/** Clients to disconnect: one, all of an identity, or all members of a topic. */
export type Target = { readonly id: string } | { readonly sub: string } | { readonly topic: string }

export interface Audience {
  /** Only members of this topic. */
  topic?: string
  /** Everyone but this client. */
  except?: Client
  /** What the payload is; only clients whose codec reads that. */
  format?: string
  /** This node only; implied by `where`. */
  local?: boolean
  /** Only clients for which this answers true. A function cannot travel, so this node only. */
  where?: (client: Client) => boolean
}

export interface Server {
  /** Every opened client of this node, by id. */
  readonly clients: ReadonlyMap<string, Client>
  /** Every one of `checks`. */
  readonly ready: boolean
  readonly checks: Checks
  /** Every handler on every chain, in order, and what came of its calls. */
  readonly handlers: readonly HandlerCounts[]
  /** What the storage tells of itself, by names such as `reconnects_total`. */
  readonly storageMetrics: Readonly<Record<string, number>>
  /** What has happened so far; read it whenever you like, it costs nothing to keep. */
  readonly counters: Counters
  /**
   * To every admitted client, of every node, that the audience names.
   *
   * @throws FwsError `ERR_FORBIDDEN` in the handling of a message whose client may not publish there. Not caught by the
   * filter, it ends the chain, and the client is told.
   */
  broadcast(payload: Payload, to?: Audience): void
  /** Application channel: comes back through the consumer chain of every subscribed node. */
  publish(channel: string, payload: Payload): Awaitable<void>
  /**
   * Disconnects the target's clients on every node, after everything that was sent; as any broadcast it may be lost on
   * its way to another node. Code defaults to 1000.
   */
  disconnect(target: Target, code?: number, reason?: string): void
  /** Stops this node as SIGTERM does: drains, then ends; `why` goes to the log. */
  stop(why: string): void
  /**
   * Makes a client of a connection that is no WebSocket; runs its open chain.
   *
   * @throws FwsError `ERR_LIMIT` past `--max-clients`, `ERR_STATE` while the server stops: end the connection then.
   */
  attach(transport: Transport): Attached
}

/** The other end of `server.attach`: what the transport reports. */
export interface Attached {
  readonly client: Client
  /** @param views - what the transport has decoded already; it becomes part of the message that filters get. */
  receive(payload: Payload, views?: MessageViews): void
  /** Runs `then` when all that was received has been through the chain; at once if that is so now. */
  settled(then: () => void): void
  closed(code: number, reason: string, clean: boolean): void
}

/** The outcome of a later token, in JSON as clients read it; `expires` in seconds since 1970. */
export type Renewal =
  | { readonly auth: 'ok'; readonly expires: number }
  | { readonly auth: 'error'; readonly reason: string }
