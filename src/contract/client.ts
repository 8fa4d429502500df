import type { IncomingMessage } from 'node:http'
import type { Codec } from './codec.ts'
import type { Awaitable } from './deadline.ts'
import type { Drop } from './drop.ts'
import type { Checks, Counters, HandlerCounts } from './metrics.ts'
import type { ChainObserver } from './observer.ts'
import type { Payload } from './payload.ts'
import type { Certificate, Handshake, Peer } from './peer.ts'
import type { Refusal } from './refusal.ts'
import type {
  Append,
  AppendOutcome,
  Joined,
  JoinOptions,
  NewEntry,
  Position,
  ReadRange,
  StreamPage,
  TopicWatcher,
} from './streams.ts'
import type { Transport } from './transport.ts'

// Clients and the server name each other, so their contracts stand in one file.

/**
 * State that filters keep on a client; extended by declaration merging.
 *
 * @example
 * declare module 'filtered-websocket' {
 *   interface ClientState { user?: User }
 * }
 */
export interface ClientState {
  /** The client certificate, checked against `--ca`; its `CN` is the identity until a filter sets another. */
  certificate?: Certificate
  /**
   * Set by a filter that authenticates with tokens: accepts a later token from a protocol with its own call for it.
   * Settles to `DROP` if it has closed the client.
   */
  renewToken?: (token: string, client: Client) => Promise<Renewal | Drop>
}

/** Decoded forms of a message, added by protocol filters with declaration merging: `interface MessageViews { media?: Media }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface MessageViews {}

/** A received message. */
export interface Message extends MessageViews {
  readonly payload: Payload
  /** Time of receipt in milliseconds since 1970. */
  readonly at: number
}

/** An action on a topic that permits decide on; `topic: undefined` means a broadcast to all clients. */
export interface Access {
  /** `read`: get messages of the past, in addition to `join`. */
  readonly action: 'join' | 'read' | 'publish'
  readonly topic: string | undefined
}

/** A peer with an open connection, as filters see it. */
export interface Client extends Peer {
  readonly transport: 'websocket' | (string & {})
  /** `undefined` on transports without a handshake. */
  readonly handshake: Handshake | undefined
  readonly server: Server
  readonly state: ClientState
  /** Authenticated identity, such as a token's `sub`; set by the filter that authenticates the client. */
  identity: string | undefined
  readonly topics: ReadonlySet<string>
  /** Bytes accepted for sending and not yet written to the operating system, without the broadcasts of this turn. */
  readonly buffered: number
  /**
   * Calls the handler once when the client has gone, also if it never opened; at once if it has. Costs less than `signal`. An error
   * is reported.
   *
   * @example
   * export const connect = client => {
   *   connections++
   *   client.onGone(() => connections--)
   * }
   */
  onGone(handler: () => void): void
  /**
   * Calls the handler once, when the client is open and not pending; at once if it is. For work that must not be done for a client that a
   * guard has not admitted. An error is reported.
   *
   * @example
   * export const open = client => client.onAdmitted(() => client.send('welcome'))
   */
  onAdmitted(handler: () => void): void
  /** Aborted on disconnect; created on first use. */
  readonly signal: AbortSignal
  /** Default: payloads are sent unchanged. Protocol filters set their own. */
  codec: Codec
  /**
   * Sends to this client through its codec; queued until the client is open.
   *
   * @param format - format of the payload: the client receives it only if its codec reads that format.
   * @throws FwsError `ERR_PAYLOAD` unless the payload is a string or a Buffer.
   *
   * @example
   * client.send('hello')
   */
  send(payload: Payload, format?: string): void
  /**
   * Sends a value as JSON, as `send` does.
   *
   * @throws FwsError `ERR_PAYLOAD` for a value that JSON cannot represent, such as `undefined`, a BigInt or a circular object.
   *
   * @example
   * client.sendJson({ hello: 'world' })
   */
  sendJson(value: unknown, format?: string): void
  /** @throws FwsError `ERR_FORBIDDEN` if a permit refuses. If the filter does not catch it, the chain ends and the client gets an error message. */
  join(topic: string): void
  /**
   * Joins a kept topic at a position: the client gets everything behind it, or is informed that it does not. Settles when the client is a
   * member; while it is pending, that waits. A topic that is not kept is joined at once, with no position.
   *
   * @throws (rejects) FwsError `ERR_FORBIDDEN` if a permit refuses to join, or to read the past. `ERR_STATE`: it is a member already, or
   * leaves meanwhile.
   * @example
   * const { position, recovered } = await client.join('chat/1', { after: last ?? 'now' })
   */
  join(topic: string, how: JoinOptions): Promise<Joined>
  /** @param why - the client has not left the topic itself: the `onRemoved` handlers are called. */
  leave(topic: string, why?: Removal): void
  /**
   * Publishes to a topic: asks the permits, runs the `publish` handlers, then appends the message if the topic is kept, or broadcasts
   * it.
   *
   * @returns the position on a kept topic; `undefined` on others; `DROP` if a handler has dropped it.
   * @throws (rejects) FwsError `ERR_FORBIDDEN` if a permit refuses. `ERR_STORAGE`, `ERR_LIMIT`: it is not stored, see `server.append`.
   */
  publish(topic: string, payload: Payload, how?: PublishOptions): Promise<Position | Drop | undefined>
  /**
   * Leaves every topic that the permits no longer allow, then runs the `onIdentity` handlers one after the other. Permits are
   * checked when a client joins, so a filter that changes the identity or the rights of a client MUST call this afterwards.
   * Regained rights do not rejoin topics.
   *
   * @returns a promise that settles when the handlers have, or rejects with the error of the first that fails.
   * @example
   * client.identity = user.id
   * await client.recheck()
   */
  recheck(): Promise<void>
  /**
   * Registers a handler for `recheck`, for filters with state derived from the identity or the rights of the client, such as a
   * room. Handlers run in the order of their registration, until the client has disconnected.
   *
   * @example
   * export const open = client => client.onIdentity(async () => rooms.move(client, client.identity))
   */
  onIdentity(handler: (client: Client) => Awaitable<void>): void
  /**
   * Registers a handler that is called when the client has been removed from a topic: by `server.unsubscribe`, by `recheck`, since it
   * may no longer join, or by `leave` with a reason. A protocol informs its client. An error is reported.
   *
   * @example
   * export const open = client => client.onRemoved(topic => client.send(`removed from ${topic}`))
   */
  onRemoved(handler: (topic: string, why: Removal) => void): void
  /**
   * Settles when all but 16 KiB of the sent bytes are written to the operating system, or when the client has disconnected.
   * Filters that send large amounts await it to respect backpressure.
   */
  drained(): Promise<void>
  /** Whether every `permit` handler allows the action; without `topic`, a broadcast to all clients. */
  may(action: Access['action'], topic?: string): boolean
  /** Sends and ends the chain; also reaches a pending client, so that guards can answer after an `await`. */
  answer(payload: Payload, format?: string): Drop
  /** Ends the chain. The reason labels a counter and is logged at debug level: use one of a few fixed strings. */
  drop(reason?: string): Drop
  /**
   * Answers the handshake with an HTTP status instead of 101; connect handlers only.
   *
   * @param status - 300 to 599.
   * @throws FwsError `ERR_STATE` for another status, for invalid headers, or outside of the connect chain.
   *
   * @example
   * export const connect = client => (client.handshake.url.searchParams.has('key') ? undefined : client.refuse(401))
   */
  refuse(status: number, reason?: string, headers?: Readonly<Record<string, string>>): Drop
  /**
   * Keeps the client pending until `admit()`: it gets no broadcasts, is in no topic, and its messages reach no filter after
   * the one that holds it. Open and disconnect handlers of all filters still run.
   */
  hold(): void
  /**
   * Ends the hold of the only holder, or with several holders that of the filter whose handler runs.
   *
   * @throws FwsError `ERR_STATE` if the holder is ambiguous.
   */
  admit(): void
  /**
   * Registers work that a stop awaits, within `--drain`, before it closes the client: for work outside of the chains that
   * still sends an answer. The client is not read meanwhile.
   */
  finish(work: () => Awaitable<void>): void
  /**
   * Closes the connection after everything that was sent, and ends the chain.
   *
   * @param code - close code, RFC 6455 section 7.4. Default: 1000.
   * @throws FwsError `ERR_CLOSE_CODE` for a code that an endpoint must not send.
   */
  disconnect(code?: number, reason?: string): Drop
}

/** Why a client has been removed from a topic. */
export type Removal = 'unsubscribed' | 'forbidden'

/** Clients of an order: one by id, only if it has an identity with `sub`; all of an identity; or all members of a topic. */
export type Target =
  | { readonly id: string; readonly sub?: string }
  | { readonly sub: string }
  | { readonly topic: string }

/** How a client publishes. */
export interface PublishOptions {
  /** Format of the payload. */
  readonly format?: string | undefined
  /** Idempotency key: used again within 10 minutes it gives the same position, and appends nothing. */
  readonly key?: string | undefined
  /** All members but this client. */
  readonly except?: Client | undefined
}

/** How entries are appended; see `Append`. */
export type AppendOptions = Pick<Append, 'when' | 'set' | 'key'>

/** The clients that a broadcast reaches. Default: all admitted clients on all nodes. */
export interface Audience {
  /** Only members of this topic. */
  topic?: string
  /** All clients but this one. */
  except?: Client
  /** Format of the payload: only clients whose codec reads it. */
  format?: string
  /** This node only; implied by `where`. */
  local?: boolean
  /** Only clients for which this returns true; this node only, since a function cannot be sent to another node. */
  where?: (client: Client) => boolean
}

/** The server as filters see it. */
export interface Server {
  /** All open clients of this node, by id. */
  readonly clients: ReadonlyMap<string, Client>
  /** Whether all `checks` pass. */
  readonly ready: boolean
  readonly checks: Checks
  /** Call counts of all handlers, in the order of the chains. */
  readonly handlers: readonly HandlerCounts[]
  /**
   * Observes the handlers of all chains: calls are measured while there is an observer, and cost nothing otherwise.
   *
   * @returns ends the observation; a second call has no effect.
   * @example
   * const end = server.observe(({ filter, verdict, nanoseconds }) => log.debug({ filter, verdict, nanoseconds }))
   */
  observe(observer: ChainObserver): () => void
  /** Metrics of the storage, by names such as `reconnects_total`. */
  readonly storageMetrics: Readonly<Record<string, number>>
  /** Running totals since the start. */
  readonly counters: Counters
  /**
   * Sends to all admitted clients, on all nodes, that the audience selects.
   *
   * @throws FwsError `ERR_FORBIDDEN` while a message is handled whose client may not publish there. If the filter does not
   * catch it, the chain ends and the client gets an error message.
   *
   * @example
   * export const message = (payload, client) => client.server.broadcast(payload, { topic: 'news', except: client })
   */
  broadcast(payload: Payload, to?: Audience): void
  /**
   * Appends to a kept topic: numbers the entries, stores them and delivers them to all members on all nodes. Settles when they are
   * stored, and delivered on this node: later sends follow them.
   *
   * @param entries - a payload, or several entries that are appended together or not at all.
   * @throws (rejects) FwsError `ERR_STATE`: the topic is not kept. `ERR_FORBIDDEN` as `broadcast`. `ERR_STORAGE`: the storage does not
   * answer in time; the entries may be stored nevertheless. `ERR_LIMIT`: too many bytes wait for it.
   * @example
   * const outcome = await server.append('orders', JSON.stringify(order), { key: order.id })
   */
  append(topic: string, entries: Payload | readonly NewEntry[], how?: AppendOptions): Promise<AppendOutcome>
  /**
   * Reads a kept topic.
   *
   * @throws (rejects) FwsError `ERR_STATE`: the topic is not kept. Error: the storage does not answer.
   * @example
   * const { entries, top } = await server.read('chat/1', { from: 'newest', entries: 50, bytes: 100_000 })
   */
  read(topic: string, range: ReadRange): Promise<StreamPage>
  /** Forgets the entries of a kept topic up to a position. @throws (rejects) as `read` does. */
  trim(topic: string, upTo: Position): Promise<void>
  /**
   * Watches a kept topic on all nodes without a client. Does not count in `--max-clients`. `client.server` of a client that permits
   * apply to refuses it, since a watcher may outlive the rights of the client: use the server that `start` gets.
   *
   * @returns ends the watch; a second call has no effect.
   * @throws FwsError `ERR_STATE`: the topic is not kept. `ERR_FORBIDDEN` on the server of a client.
   * @example
   * const unwatch = server.watch('chat/1', { entry: ({ payload }, { offset }) => host.log.info({ offset }, String(payload)) })
   */
  watch(topic: string, watcher: TopicWatcher): () => void
  /** Whether a topic is kept. */
  keeps(topic: string): boolean
  /** Gauges of kept topics, such as `waiting_bytes`, `tail_bytes` and `followed`; empty if none is kept. */
  readonly streamGauges: Readonly<Record<string, number>>
  /**
   * Publishes to a topic for the operator, such as for a backend: runs the `publish` handlers without a client, then appends the message
   * if the topic is kept, or broadcasts it. Permits apply only to the server of a client, `client.server`.
   *
   * @returns the position on a kept topic; `undefined` on others; `DROP` if a handler has dropped it.
   * @throws (rejects) as `client.publish`.
   * @example
   * const position = await server.publishTo('orders', JSON.stringify(order), { key: order.id })
   */
  publishTo(topic: string, payload: Payload, how?: PublishOptions): Promise<Position | Drop | undefined>
  /**
   * Publishes to an application channel; the event runs through the consumer chain of each subscribed node.
   *
   * @throws FwsError `ERR_STORAGE` if the storage has no "bus".
   */
  publish(channel: string, payload: Payload): Awaitable<void>
  /**
   * Disconnects the target's clients on all nodes, after everything that was sent to them. Like a broadcast it can be lost
   * on the way to another node.
   *
   * @param code - close code. Default: 1000.
   */
  disconnect(target: Target, code?: number, reason?: string): void
  /**
   * Removes the target's clients from a topic on all nodes, after everything that was sent to them, see `client.onRemoved`. They may join
   * again. Like a broadcast it can be lost on the way to another node.
   */
  unsubscribe(target: Target, topic: string): void
  /**
   * Stops this node as SIGTERM does: drains, then ends. `why` is logged.
   *
   * @param error - the node has failed: logged, and the command ends with exit code 1.
   */
  stop(why: string, error?: unknown): void
  /**
   * Creates a client for a connection that is not a WebSocket, and runs the open chain.
   *
   * @param from - a client that `admit` returned for a stream, or a source that the operator controls. Default: a new client, which
   * passes no connect chain.
   * @throws FwsError `ERR_LIMIT` past `--max-clients`, `ERR_STATE` while the server stops or if the client has gone; the caller ends
   * the connection then.
   */
  attach(transport: Transport, from?: Client | TrustedSource): Attached
  /**
   * Admits a plain request that does what a client does, such as reading a topic or publishing to it.
   *
   * The request passes what a handshake passes: Host, Origin, client certificate, `--max-clients`, and the connect chain within
   * `--handshake-timeout`. A client of a stream is then given to `attach`. A client of a request is never open: it has no open and
   * disconnect chain, `send` and `hold` throw `ERR_STATE`, and it goes with the response. Both count in `--max-clients`.
   *
   * @returns the client, or the response that refuses it, which the filter MUST send.
   * @throws (rejects) FwsError `ERR_STATE` for a request that did not come to the port of this server.
   *
   * @example
   * export const request = async (req, res, server) => {
   *   const client = await server.admit(req, { for: 'request' })
   *   if ('status' in client) return answerWith(res, client)
   *   return res.end(`hello ${client.identity}`)
   * }
   */
  admit(req: IncomingMessage, as: Admission): Promise<Client | Refusal>
}

/** What a plain request becomes: a client that gets messages, framed by the function of its transport, or one that gets a response. */
export type Admission = { readonly for: 'stream'; readonly frame: Transport['frame'] } | { readonly for: 'request' }

/** How messages of a source that the operator controls are handled, such as standard input. */
export interface TrustedSource {
  /** `host.order` of a filter: only the handlers of filters behind it run, and permits do not apply. */
  readonly after: number
  /**
   * Carries out the broadcasts of its messages, in the turn in which a filter calls `broadcast`, such as to a topic or with a wait until
   * the entry is stored. Default: the server does.
   */
  readonly broadcast?: ((payload: Payload, to: Audience) => void) | undefined
}

/** The handle that `server.attach` returns: a transport reports its events to it. */
export interface Attached {
  readonly client: Client
  /** @param views - decoded forms, merged into the message that filters get. */
  receive(payload: Payload, views?: MessageViews): void
  /** Runs `then` once the chain has handled all received messages; immediately if none is queued. */
  settled(then: () => void): void
  closed(code: number, reason: string, clean: boolean): void
}

/** The outcome of a token renewal, sent to clients as JSON; `expires` in seconds since 1970. */
export type Renewal =
  | { readonly auth: 'ok'; readonly expires: number }
  | { readonly auth: 'error'; readonly reason: string }
