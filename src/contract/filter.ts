import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Access, Client, Message, Server } from './client.ts'
import type { Awaitable } from './deadline.ts'
import type { Drop } from './drop.ts'
import type { OptionSpecs, OptionValues } from './option.ts'
import type { Payload } from './payload.ts'
import type { Closed, Peer } from './peer.ts'
import type { Capability, Storage } from './storage.ts'

/** `undefined` keeps the payload, a string or Buffer replaces it, `DROP` ends the chain; anything else is an error that names the filter. */
export type Verdict = Payload | Drop | void

/** What `host.use(name)` gives: `interface FilterApis { wslink: WslinkApi }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filters merge their own fields into it
export interface FilterApis {}

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
  /** What the filter does: an imperative or a noun phrase of at most 70 characters. `--help` lists those of the built-in filters. */
  readonly describe?: string
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
