import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import type { Logger } from 'pino'
import type { Access, Client, Message, Server } from './client.ts'
import type { Awaitable } from './deadline.ts'
import type { Drop } from './drop.ts'
import type { OptionSpecs, OptionValues } from './option.ts'
import type { Payload } from './payload.ts'
import type { AcceptedConnection, Closed, Peer } from './peer.ts'
import type { Capability, Storage } from './storage.ts'
import type { Retention } from './streams.ts'

/** A handler's result: `undefined` keeps the payload, a string or Buffer replaces it, `DROP` ends the chain. Other values are errors. */
export type Verdict = Payload | Drop | void

/** APIs that `host.use(name)` returns; extended by declaration merging: `interface FilterApis { wslink: WslinkApi }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface FilterApis {}

/** An event from a channel of the storage. */
export interface ChannelEvent {
  readonly channel: string
  readonly payload: Payload
}

/** A message that a client or a backend publishes to a topic. */
export interface Publication {
  readonly topic: string
  readonly payload: Payload
  readonly format?: string | undefined
}

/** One handler or an array of them. */
export type Many<F> = F | readonly F[]

/**
 * The handlers of a filter: the keys that a module exports or its `setup` returns are its registration.
 *
 * @example
 * // echo.js: a complete filter
 * export const message = (payload, client) => client.send(payload)
 */
export interface Handlers {
  /**
   * Each accepted connection before a byte is read, over TLS before the handshake. Synchronous; `DROP` or an error closes it at
   * once. Not called for connections of a `--trust-proxy`, whose address is not the client's, and of other transports.
   */
  accept?: Many<(connection: AcceptedConnection) => Drop | void>
  /** Before the 101 response. */
  connect?: Many<(client: Client) => Awaitable<Drop | void>>
  /** Once, after the handshake. */
  open?: Many<(client: Client) => Awaitable<Drop | void>>
  /** Each chunk of bytes from a peer after TLS, including the handshake and non-WebSocket bytes. */
  data?: Many<(chunk: Buffer, peer: Peer) => Awaitable<Buffer | Drop | void>>
  /** Each complete message. */
  message?: Many<(payload: Payload, client: Client, message: Message) => Awaitable<Verdict>>
  /** Exactly once for each open client. */
  disconnect?: Many<(client: Client, closed: Closed) => Awaitable<Drop | void>>
  /** Whether a client may join a topic, read what it has missed there, or publish to it. All permit handlers must return true; a handler that throws refuses. */
  permit?: Many<(access: Access, client: Client) => boolean>
  /**
   * How a topic is kept, asked once a topic: the first answer of a filter holds. Without an answer it is not kept. `@everyone` is the
   * topic of messages without a topic. A handler that throws gives no answer. All nodes MUST give the same answers.
   *
   * @example
   * export const retain = topic => (topic.startsWith('chat/') ? { size: 500, ttlMs: 300_000, full: 'trim' } : undefined)
   */
  retain?: Many<(topic: string) => Retention | undefined>
  /**
   * Each message that is published through `client.publish` or by a backend, after the permits. A filter's own broadcasts do not pass.
   *
   * @param from - `undefined`: the operator's backend.
   */
  publish?: Many<(publication: Publication, from: Client | undefined) => Awaitable<Verdict>>
  /**
   * Each client that becomes a member of a topic: when it joins, or when a pending client is admitted. Synchronous; not called for
   * messages without a topic.
   */
  joined?: Many<(topic: string, client: Client) => void>
  /** Each client that is no longer a member of a topic: it has left, lost the right, become pending, or disconnected. Synchronous. */
  left?: Many<(topic: string, client: Client) => void>
  /** Each event from a subscribed channel of the storage, once per process. */
  consumer?: Many<(event: ChannelEvent, server: Server) => Awaitable<Verdict>>
  /** Each plain HTTP request; return `DROP` if it is answered. */
  request?: Many<(req: IncomingMessage, res: ServerResponse, server: Server) => Awaitable<Drop | void>>
  /** Once, before the server listens. An error with the code `ERR_OPTION` is the operator's mistake (exit 2). */
  start?(server: Server): Awaitable<void>
  /**
   * Reads files such as certificates again, on SIGHUP and `server.reload()`, and returns a function that puts them in use.
   * That function is called only if the files of all filters could be read, and MUST NOT throw. An error keeps the old files
   * of all filters; with the code `ERR_OPTION` it is the operator's mistake.
   */
  reload?(): (() => void) | undefined
  /** Once, in reverse order of start; also after a failed start, for filters whose `setup` or `start` was called. */
  stop?(): Awaitable<void>
}

/** The argument of a filter's `setup`. */
export interface Host<O extends OptionSpecs = OptionSpecs> {
  readonly name: string
  readonly options: OptionValues<O>
  readonly storage: Storage
  readonly log: Logger
  /** Limits in force, in bytes, for protocols that announce them. */
  readonly limits: Readonly<{ 'max-payload': number; 'max-buffered': number }>
  /** Names of the guards in this server's chain, for filters that accept connections on another port. */
  readonly guards: readonly string[]
  /** Whether this filter is a guard at its place. */
  readonly isGuard: boolean
  /** The command line behind the name of a filter with `takesCommand`: `exec:./shout.py --loud`. */
  readonly command: Command | undefined
  /** Milliseconds that the promise of a handler may take, and that a stop waits for pending work; 0: no limit, no wait. */
  readonly timeouts: Readonly<{ handler: number; drain: number }>
  /** Standard output for data: bounded; never blocks or throws. */
  readonly stdout: Output
  /**
   * Standard output for one filter alone, as a stream that waits for a slow reader where `stdout` drops.
   *
   * @throws FwsError `ERR_FILTER`: another filter writes to it, or the server has no standard output.
   */
  readonly stdoutStream: Writable & { readonly isTTY?: boolean }
  /** Standard input, for one filter. @throws FwsError `ERR_FILTER`: another filter has it, or the server has no standard input. */
  readonly stdin: Readable
  /** Position of this filter in the chain, from 0; see `server.attach`. */
  readonly order: number
  /** Folders of this server with files of clients. */
  readonly untrustedFolders: UntrustedFolders
  /** The API of a filter listed in `uses`. */
  use<K extends keyof FilterApis>(name: K): FilterApis[K]
  /** The API of a filter listed in `mayUse`; `undefined` if it is not in the chain. */
  find<K extends keyof FilterApis>(name: K): FilterApis[K] | undefined
  /**
   * Runs a function repeatedly until the server stops. Runs do not overlap, errors are contained, and the timer does not keep
   * the process alive.
   *
   * @param ms - milliseconds between two runs.
   */
  every(ms: number, run: () => Awaitable<void>): void
}

/** A command line that the operator has given. Its words may be secrets: only the name of the program is shown. */
export interface Command {
  /** The program and its arguments; at least one. */
  readonly words: readonly string[]
  /** Folder of relative paths: of the config file, or the working directory. */
  readonly base: string
}

/** A folder in which clients can write files. */
export interface UntrustedFolder {
  /** Real path: absolute, without links. */
  readonly path: string
  /** The option that names it, such as `--media-uploads`. */
  readonly option: string
}

/**
 * The folders of one server in which clients can write files. Their content is untrusted.
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
  /** Writes, or counts a drop if the reader is too slow or has closed the pipe. */
  write(text: string): void
}

/** What a filter module exports, or its `setup` returns, to claim URL paths. */
export interface Claiming {
  /**
   * URL paths such as `/sse`, each with all paths below it. Only guards, observers, the filters in `uses` and `mayUse` and this filter handle
   * their requests and clients, and this filter handles no others. A path that two filters claim is refused at start.
   */
  readonly paths?: readonly string[]
}

/** The result of a filter's `setup`: more handlers, and what others may know of the filter. */
export interface SetUp extends Handlers, Claiming {
  /** For filters that list this one in `uses`. */
  readonly api?: unknown
  /** Lines for `--explain`, such as parsed rules. No secrets. */
  readonly explain?: readonly string[]
}

/** The exports of a filter module. */
export interface FilterModule<O extends OptionSpecs = OptionSpecs> extends Handlers, Claiming {
  /** Description for `--help`: an imperative or a noun phrase of at most 70 characters. */
  readonly describe?: string
  /** Plain data, read before `setup` runs; names begin with the filter's name. */
  readonly options?: O
  /** Filters that this one depends on: loaded first and placed before it. */
  readonly uses?: readonly string[]
  /** Filters that this one also uses if the operator has named them, see `host.find`; each is set up before it. */
  readonly mayUse?: readonly string[]
  /** Storage capabilities, checked before listening. */
  readonly needs?: readonly Capability[]
  /**
   * Marks a guard: the start is refused unless guards come before all other filters. `optional`: where the options of a place have
   * `"guard": true`. `observer`: the filter changes nothing and protects nothing; it may stand anywhere, and gets the clients of all paths.
   */
  readonly stage?: 'guard' | 'optional' | 'observer'
  /** Only of built-in filters: a command line follows the name, as in `exec:./shout.py`; `exec-guard:` makes it a guard. */
  readonly takesCommand?: true
  /**
   * Marks a filter that opens a port, or waits for the server to listen; the name of an option: it does if that option is set.
   * `fws-server run`, which has no listener, refuses it.
   */
  readonly listens?: true | string
  /** Raises the default of a limit, in bytes, as the protocol needs; the operator's option wins. */
  readonly limits?: Readonly<{ 'max-payload'?: number; 'max-buffered'?: number }>
  /** Runs once per server, before `start`. */
  setup?(host: Host<O>): Awaitable<SetUp | void>
}
