import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import type { Drop } from './drop.ts'

// The contract between the core and everything that plugs into it. What a filter, a storage or a transport may rely on
// stands here and nowhere else.

export type Awaitable<T> = T | PromiseLike<T>
export type { Logger } from 'pino'
export type { Drop } from './drop.ts'
/** A text message is a string, a binary message a Buffer. */
export type Payload = string | Buffer
/** `undefined` keeps the payload, a string or Buffer replaces it, `DROP` ends the chain; anything else is an error that names the filter. */
export type Verdict = Payload | Drop | void

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

/** What filters keep on a client; extended by declaration merging: `interface ClientState { user?: User }`. */
export interface ClientState {
  /** The client certificate, checked against `--ca`; its `CN` is the identity until a filter sets another. */
  certificate?: Certificate
  /** Called by each `client.recheck()`, for filters that keep something that follows from its topics. */
  onRecheck?: ((client: Client) => void)[]
  /**
   * Set by a filter that authenticates with tokens: accepts a later token, for protocols that have a
   * call of their own for it. `DROP`: it has closed the client.
   */
  renewToken?: (token: string, client: Client) => Promise<Renewal | Drop>
}
/** The outcome of a later token, in JSON as clients read it; `expires` in seconds since 1970. */
export type Renewal =
  | { readonly auth: 'ok'; readonly expires: number }
  | { readonly auth: 'error'; readonly reason: string }
/** What protocol filters decode from a message: `interface MessageViews { media?: Media }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface MessageViews {}
/** What `host.use(name)` gives: `interface FilterApis { wslink: WslinkApi }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface FilterApis {}

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

/**
 * What a codec makes of a payload: one message, or several in their order, of which a binary one may be in parts. Parts from
 * 16 KiB on go out as they are, not copied: nobody may change them any more.
 */
export type Encoded = Payload | readonly (Payload | readonly Uint8Array[])[]

/** How payloads look to a client. A broadcast is encoded once per codec in its audience. */
export interface Codec {
  readonly name: string
  /**
   * Formats that it reads; what is sent in another one is not for its clients. With `notice` it also encodes text that the
   * server itself has for one client; all other codecs get notices without a format.
   */
  readonly formats?: readonly string[]
  /**
   * Each message begins with its number on the connection, from 0: 8 bytes, big-endian. The core writes it, so that all
   * clients share the rest. `encode` gives a Buffer then, which nobody changes any more.
   */
  readonly numbered?: true
  /**
   * `undefined`: this payload is not for such a client.
   *
   * @param format - one of `formats`; `undefined`: a payload as any filter sends it.
   */
  encode(payload: Payload, format: string | undefined): Encoded | undefined
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
   * Leaves every topic that the permits no longer allow, then calls `state.onRecheck`. A permit is asked when a client joins,
   * so a filter that changes the rights of a client MUST call this afterwards. Rights that come back join nothing.
   */
  recheck(): void
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

/** What a client wants with a topic; `undefined`: with everyone. */
export interface Access {
  readonly action: 'join' | 'publish'
  readonly topic: string | undefined
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

/** The parts of a storage, each of which may fail alone. */
export interface StorageChecks {
  /** It accepts messages for other nodes and channels. */
  readonly sending: boolean
  /** Messages of other nodes and channels arrive. */
  readonly receiving: boolean
  /** It accepts writes. */
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

/** A connection that can carry messages: what a filter hands to `server.attach`. One that throws loses its client (1006), and is reported. */
export interface Transport {
  /** Shown as `client.transport`. */
  readonly name: string
  readonly remote: string
  /** Where frames are written; its `error` event must be listened to. */
  readonly socket: Duplex
  /** One message as bytes on the wire. The same function for all connections of a kind, so that they share frames. */
  readonly frame: (payload: Payload) => Buffer
  /** Stop and restart reading; called when the client's mailbox is full and when it has room again. */
  pause(): void
  resume(): void
  /** Say goodbye and end; every frame has been written. MUST lead to `closed`, soon. Never called before `attach` returns. */
  close(code: number, reason: string): void
  /** End at once. MUST lead to `closed`. */
  destroy(): void
}

/** The other end of `server.attach`: what the transport reports. */
export interface Attached {
  readonly client: Client
  receive(payload: Payload): void
  /** Runs `then` when all that was received has been through the chain; at once if that is so now. */
  settled(then: () => void): void
  closed(code: number, reason: string, clean: boolean): void
}

/** A message as received; views are added by protocol filters. */
export interface Message extends MessageViews {
  readonly payload: Payload
  /** Milliseconds since 1970, at receipt. */
  readonly at: number
}

export interface ChannelEvent {
  readonly channel: string
  readonly payload: Payload
}

export type Many<F> = F | readonly F[]

/** The keys that are present ARE the registration; a key may hold an array of handlers. */
export interface Handlers {
  /** Before the 101 answer. */
  connect?: Many<(client: Client) => Awaitable<Drop | void>>
  /** Once, after the handshake. */
  open?: Many<(client: Client) => Awaitable<Drop | void>>
  /** Every chunk of bytes from a peer, the handshake and non-WebSocket bytes included (after TLS). */
  data?: Many<(chunk: Buffer, peer: Peer) => Awaitable<Buffer | Drop | void>>
  /** Every complete message. */
  message?: Many<(payload: Payload, client: Client, message: Message) => Awaitable<Verdict>>
  /** Exactly once for each opened client. */
  disconnect?: Many<(client: Client, closed: Closed) => Awaitable<Drop | void>>
  /** Whether a client may join a topic, or publish to it. Every such handler has to answer true; one that fails refuses. */
  permit?: Many<(access: Access, client: Client) => boolean>
  /** Every event from a subscribed channel of the storage, once per process. */
  consumer?: Many<(event: ChannelEvent, server: Server) => Awaitable<Verdict>>
  /** Every plain HTTP request; `DROP`: answered. */
  request?: Many<(req: IncomingMessage, res: ServerResponse, server: Server) => Awaitable<Drop | void>>
  /** With the server, before it listens. An error whose `code` is `ERR_OPTION` is the operator's mistake (exit 2). */
  start?(server: Server): Awaitable<void>
  /**
   * Reads files such as certificates again, on SIGHUP and `server.reload()`, and answers a function that uses them. It is
   * called when every filter's files could be read; the function MUST NOT throw. An error keeps the old files of all
   * filters; with the code `ERR_OPTION` it is the operator's mistake.
   */
  reload?(): (() => void) | undefined
  /** In reverse order of start; also when the start fails, if the setup ran or the start was tried. */
  stop?(): Awaitable<void>
}

/** One option, in yargs' words; `separator`, `secret`, `min`, `max` and `integer` are ours. `normalize` marks a path. */
export interface OptionSpec {
  readonly type: 'string' | 'number' | 'boolean' | 'array'
  readonly describe: string
  readonly default?: string | number | boolean | readonly string[]
  readonly alias?: string
  readonly choices?: readonly string[]
  readonly demandOption?: true
  /** A path: made absolute, from the working directory or the config file's folder. */
  readonly normalize?: true
  /** Between the entries of an array in the environment; default: blanks and commas. */
  readonly separator?: string
  /** Never printed; may also come from a file named by `FWS_NAME_FILE`. */
  readonly secret?: true
  /** Bounds of a number, inclusive. */
  readonly min?: number
  readonly max?: number
  readonly integer?: true
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>
type Value<S> = S extends { type: 'number' }
  ? number
  : S extends { type: 'boolean' }
    ? boolean
    : S extends { type: 'array' }
      ? readonly string[]
      : S extends { choices: readonly (infer C)[] }
        ? C
        : string
type Given<S> = S extends { default: NonNullable<unknown> } | { demandOption: true } ? Value<S> : Value<S> | undefined
export type OptionValues<S extends OptionSpecs> = { readonly [K in keyof S]: Given<S[K]> }

/** What a filter's `setup` gets. */
export interface Host<O extends OptionSpecs = OptionSpecs> {
  readonly name: string
  readonly options: OptionValues<O>
  readonly storage: Storage
  readonly log: Logger
  /** The limits that hold, in bytes: to be announced where a protocol does so. */
  readonly limits: Readonly<{ 'max-payload': number; 'max-buffered': number }>
  /** Names of the guards in this server's chain, for filters that let peers in by another door. */
  readonly guards: readonly string[]
  /** Standard output, the place for data: bounded, never blocking, never failing. */
  readonly stdout: Output
  /** Folders of this server that hold files of clients. */
  readonly untrustedFolders: UntrustedFolders
  /** The api of a filter listed in `uses`. */
  use<K extends keyof FilterApis>(name: K): FilterApis[K]
  /** Repeats until the server stops; never overlaps itself, errors are contained, never keeps the process alive. */
  every(ms: number, run: () => Awaitable<void>): void
}

/** A folder in which clients can write files. */
export interface UntrustedFolder {
  /** Real path. */
  readonly path: string
  /** The option that names it, such as `--media-uploads`. */
  readonly option: string
}

/**
 * The folders of one server in which clients can write files, and which contain untrusted content.
 *
 * A filter that writes files of clients MUST add its folder in `setup`. A filter that reads files MUST ask after `setup`
 * of all filters, in `start` or later, and MUST NOT run or render untrusted content, or serve it without a sandbox.
 * All paths are real paths: absolute, without links.
 */
export interface UntrustedFolders {
  add(path: string, option: string): void
  /** Whether a path is one of the folders or leads below it. */
  contains(path: string): boolean
  /** The folders that contain a folder, lie in it or are equal to it. */
  overlapping(path: string): readonly UntrustedFolder[]
}

/** A bounded writer. */
export interface Output {
  /** Writes, or counts a drop when the reader is too slow or gone. */
  write(text: string): void
}

export interface FilterModule<O extends OptionSpecs = OptionSpecs> extends Handlers {
  /** Plain data, read before anything runs; names begin with the filter's name. */
  readonly options?: O
  /** Filters that this one builds on: loaded first, placed before it. */
  readonly uses?: readonly string[]
  /** Storage capabilities, checked before listening. */
  readonly needs?: readonly Capability[]
  /** A guard must come before every filter that is none, else the start is refused. */
  readonly stage?: 'guard'
  /** Raises the default of a limit that the protocol needs, in bytes; the operator's own flag wins. */
  readonly limits?: Readonly<{ 'max-payload'?: number; 'max-buffered'?: number }>
  setup?(host: Host<O>): Awaitable<(Handlers & { readonly api?: unknown }) | void>
}

export interface Sets {
  get(key: string): Awaitable<ReadonlySet<string>>
  add(key: string, member: string): Awaitable<void>
  remove(key: string, member: string): Awaitable<void>
}

/** Every operation MUST be atomic. */
export interface Values {
  get(key: string): Awaitable<string | undefined>
  /** `false`: `ifAbsent` was asked and the key was there. A set without `ttlMs` MUST end an earlier time to live. */
  set(key: string, value: string, how?: { ttlMs?: number; ifAbsent?: boolean }): Awaitable<boolean>
  /** Adds `by` (default 1) to an integer, absent counting as 0. `ttlMs` holds from the first increment and MUST NOT be extended by later ones. */
  increment(key: string, by?: number, ttlMs?: number): Awaitable<number>
  /** Reads and deletes; of several callers exactly one MUST get the value. */
  take(key: string): Awaitable<string | undefined>
  delete(key: string): Awaitable<void>
}

/** MUST deliver each publish at most once to a subscription, in order per publisher, the process's own included. */
export interface Bus {
  publish(channel: string, payload: Payload): Awaitable<void>
  /** Answers how to unsubscribe. After that, `deliver` MUST NOT be called again. */
  subscribe(channel: string, deliver: (payload: Payload) => void): Awaitable<() => Awaitable<void>>
}

export interface Entry {
  readonly id: string
  /** Milliseconds since 1970, at append. */
  readonly at: number
  readonly payload: Payload
}

/** Ids MUST sort in append order as strings. */
export interface History {
  /** The newest so many entries of each log MUST be kept, and no older ones are; absent: nobody knows how many. */
  readonly entries?: number
  append(log: string, payload: Payload): Awaitable<string>
  /** Oldest first; `after` is exclusive, so a client resumes from the last id that it saw; `limit` defaults to all. */
  read(log: string, range?: { after?: string; limit?: number }): Awaitable<readonly Entry[]>
  /** Forgets entries up to and with this id. */
  trim(log: string, upTo: string): Awaitable<void>
}

export interface Storage {
  readonly sets: Sets
  readonly values: Values
  readonly bus: Bus
  readonly history: History
}
export type Capability = keyof Storage

/**
 * Carries bytes between the nodes of one server. MUST deliver each envelope at most once to every node that listens to
 * its channel, in order per sender, and SHOULD bring a node its own only if that comes cheaper. Channels are made of
 * user data: any text.
 */
export interface Carrier {
  /** Called once, before anything else. */
  start(deliver: (channel: string, envelope: Buffer) => void): void
  /**
   * MUST NOT throw, wait or keep more than a bounded number of bytes: `false` when it cannot be carried now, and is lost.
   *
   * @param onRefused - called at most once, and only after `true`: the storage has refused the envelope, and it is lost.
   */
  send(channel: string, envelope: Buffer, onRefused?: () => void): boolean
  /** MUST NOT throw or reject; settles when envelopes are heard, or when that cannot be known now and will come by itself. */
  listen(channel: string): Awaitable<void>
  ignore(channel: string): void
}

/** What a storage module's `open` answers: any of the four capabilities. */
export interface OpenStorage extends Partial<Storage> {
  /** Channels that feed the consumer chain. */
  readonly channels?: readonly string[]
  /** The way to the other nodes; absent: there are none. */
  readonly carrier?: Carrier
  /** Whether it can be reached now; absent: always. */
  readonly ready?: () => boolean
  /** The same by parts; absent: each is what `ready` says. */
  readonly checks?: () => StorageChecks
  /** Numbers for metrics, by names such as `reconnects_total`: read now and then, so they should cost nothing to keep. */
  readonly metrics?: () => Readonly<Record<string, number>>
  close?(): Awaitable<void>
}

export interface StorageModule<O extends OptionSpecs = OptionSpecs> {
  readonly options?: O
  /**
   * `instance` names this node among all: a UUID. MUST reject when it cannot be used, and let go of everything then; an
   * error whose `code` is `ERR_OPTION` is the operator's mistake (exit 2), any other a failure (exit 1).
   */
  open(host: {
    readonly options: OptionValues<O>
    readonly log: Logger
    readonly instance: string
  }): Awaitable<OpenStorage>
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
