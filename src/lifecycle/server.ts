import { createWriteStream } from 'node:fs'
import { resolve as absolute } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { Logger } from 'pino'
import { logError } from '../chain/report.ts'
import { readGiven } from '../config/config-file.ts'
import type { CoreOptions } from '../config/options.ts'
import type { Server } from '../contract/client.ts'
import { unlessAborted } from '../contract/deadline.ts'
import { defineFilter } from '../contract/define-filter.ts'
import { DROP } from '../contract/drop.ts'
import { FwsError } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import { Admissions } from '../http/admissions.ts'
import { Arrivals } from '../http/arrivals.ts'
import { Listener } from '../http/listener.ts'
import { readOriginPattern } from '../http/origin-pattern.ts'
import { readProxies } from '../http/proxies.ts'
import { Upgrades } from '../http/upgrade.ts'
import * as kit from '../kit/index.ts'
import { Loader } from '../modules/loader.ts'
import { ServerView } from '../peer/server-view.ts'
import { type Assembly, assemble, type Streams } from './assembly.ts'
import { Consumer } from './consumer.ts'
import { addStops, startFilters } from './filter-setup.ts'
import { createLogger } from './log.ts'
import { makePlan, type Plan } from './plan.ts'
import { reloadAll } from './reload.ts'
import { drain } from './shutdown.ts'
import { Undo } from './undo.ts'

const STDERR = 2
/** Methods of a RunningServer that also work without their object: `const { close } = await createServer()`. */
const BOUND = [
  'broadcast',
  'publish',
  'publishTo',
  'disconnect',
  'unsubscribe',
  'stop',
  'attach',
  'admit',
  'observe',
  'close',
  'reload',
] as const
/** Milliseconds of the longest timer in Node. */
const MAX_TIMER = 2_147_483_647

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S
type FilterChoice = string | FilterModule

type Capital = 'A' | 'B' | 'C' | 'D' | 'E' | 'F' | 'G' | 'H' | 'I' | 'J' | 'K' | 'L' | 'M'
type Capitals = Capital | 'N' | 'O' | 'P' | 'Q' | 'R' | 'S' | 'T' | 'U' | 'V' | 'W' | 'X' | 'Y' | 'Z'
/** Names of more than one word, such as those that begin with the name of a filter. */
type Compound = `${string}${Capitals | '-' | '_'}${string}`

/**
 * Options of `createServer`: those of the command line in camelCase, and those of the chosen filters and storage, whose names
 * have more than one word. An unknown name of one word is a type error, every other one an error at start.
 */
export type ServerOptions = {
  -readonly [K in keyof Omit<CoreOptions, 'filters' | 'config'> as Camel<K>]?: CoreOptions[K] | undefined
} & {
  /** Names, modules, or either with options for that place: `['words', { max: 5 }]`. Default: broadcast, and with `stdout` stdout-messages. */
  filters?: readonly (FilterChoice | readonly [FilterChoice, Readonly<Record<string, unknown>>])[]
  /** A config file; options given here win. */
  config?: string
  /** Default: pino to standard error, like the command line. */
  log?: Logger
  /** Where filters write data. Default: nowhere; filters that need it are refused. */
  stdout?: Writable
  /** For the filter that reads it, such as `stdin`. Default: none; filters that need it are refused. */
  stdin?: Readable
} & { [option in Compound]?: unknown }

/** A server that listens. */
export interface RunningServer extends Server {
  readonly log: Logger
  /** The real address: `ws://127.0.0.1:9000`. */
  readonly url: string
  /** Drains: refuses new clients, finishes work, closes all clients with 1001, stops the filters, closes the storage. Later calls return the same promise. */
  close(): Promise<void>
  /** Settles when the server has closed, for whatever reason. */
  readonly closed: Promise<void>
  /** The error for which a filter has stopped the server. */
  readonly failure: unknown
  /** Whether `reload()` has files to read. */
  readonly reloadable: boolean
  /**
   * Reads the TLS files (key, certificate, authorities) and those of filters with `reload` again, for new connections. Either all
   * of them are replaced or none. Returns whether there are any.
   *
   * @throws FwsError `ERR_OPTION`: a file cannot be used, `ERR_FILTER`: a filter fails. The old ones stay in use.
   */
  reload(): boolean
}

/**
 * Starts a server.
 *
 * @throws FwsError `ERR_OPTION`, `ERR_CONFIG`, `ERR_MODULE`, `ERR_FILTER`: the options are wrong; `ERR_STORAGE`, `ERR_START`,
 * `ERR_LISTEN`: the start failed. Everything that was started is stopped again.
 * @example
 * const server = await createServer({ port: 9000, filters: ['rate-limit', './my-filter.ts', 'broadcast'] })
 */
export async function createServer(options: ServerOptions = {}): Promise<RunningServer> {
  const { log, stdout, stdin, ...given } = options
  const base = absolute('.')
  // The default of the command line includes stdout-messages, which needs a standard output.
  if (stdout === undefined && given.config === undefined) given.filters ??= ['broadcast']
  const plan = await makePlan({ given: readGiven(given, base), base }, createLoader())
  const chosen = log ?? (await createLogger(loggingOf(plan), createWriteStream('', { fd: STDERR, autoClose: false })))
  return startServer(plan, { log: chosen, stdout, stdin })
}

/** A loader whose modules import this copy of the package. */
export function createLoader(signal?: AbortSignal): Loader {
  return new Loader(
    { 'filtered-websocket': { DROP, FwsError, createServer, defineFilter }, 'filtered-websocket/kit': kit },
    signal,
  )
}

export function loggingOf({ settings }: Plan): Pick<CoreOptions, 'log-level' | 'log-format'> {
  return {
    'log-level': settings.get('log-level')!.value as CoreOptions['log-level'],
    'log-format': settings.get('log-format')!.value as CoreOptions['log-format'],
  }
}

/**
 * Starts a planned server.
 *
 * @param signal - aborts the wait for a module that hangs; everything that was started is stopped again.
 */
export async function startServer(plan: Plan, streams: Streams, signal?: AbortSignal): Promise<RunningServer> {
  const { log } = streams
  for (const warning of plan.warnings) log.warn(warning)
  const assembly = await assemble(plan, streams, signal)
  const { options, hub, storage } = assembly
  const consumer = new Consumer(hub)
  const proxies = readProxies(options['trust-proxy'])
  const arrivals = new Arrivals(hub, {
    origins: options.origins.map(readOriginPattern),
    proxies,
    handshakeTimeout: options['handshake-timeout'] * 1000,
    isAccepting: () => assembly.state === 'listening',
    isHostAllowed: host => listener.isHostAllowed(host),
    remoteOf: socket => listener.remoteOf(socket),
  })
  const upgrades = new Upgrades(hub, arrivals, {
    maxPayload: options['max-payload'],
    maxControl: options['max-control'],
    compressFrom: options.compress ? options['compress-threshold'] : undefined,
    heartbeat: options.heartbeat * 1000,
  })
  const undo = new Undo(log, options.drain * 1000)
  undo.add('closing the storage', () => assembly.close())
  undo.add('sending to other nodes', () => hub.fabric?.stop())
  undo.add('appending to streams', () => hub.kept?.close())
  addStops(assembly, undo)
  let listener: Listener
  try {
    listener = new Listener(hub, arrivals, upgrades, {
      port: options.port,
      host: options.host,
      hosts: options.hosts,
      proxies,
      healthPath: options['health-path'],
      key: options.key,
      cert: options.cert,
      passphrase: options['key-passphrase'],
      ca: options.ca,
      clientCert: options['client-cert'] ?? 'required',
      headersTimeout: options['handshake-timeout'] * 1000,
      idleTimeout: idleTimeoutOf(options),
    })
    const admissions = new Admissions(arrivals, req => listener.requests.find(req))
    assembly.onAdmit = (req, as) => admissions.admit(req, as)
    undo.add('ending the heartbeat', () => upgrades.stop())
    hub.kept?.start()
    await unlessAborted(hub.fabric?.start(), signal)
    await startFilters(assembly.filters, hub, options['filter-timeout'] * 1000, signal)
    undo.add('ending subscriptions', () => consumer.stop())
    if (storage.bus !== undefined && !assembly.chains.consumer.empty)
      await unlessAborted(consumer.subscribe(storage.bus, storage.channels ?? []), signal)
    await listener.listen()
    assembly.state = 'listening'
  } catch (error) {
    await undo.run()
    throw error
  }
  log.info({ url: listener.url, filters: plan.filters.map(filter => filter.asked) }, `listening on ${listener.url}`)

  const server = new Running(assembly, listener, arrivals, undo)
  assembly.onStop = () => server.stopAsAsked()
  // A filter may have asked for the stop while the server started.
  if (assembly.stopAsked !== undefined) assembly.onStop()
  return server
}

/** A server that listens. */
class Running extends ServerView implements RunningServer {
  readonly url: string
  readonly log: Logger
  readonly closed: Promise<void>
  readonly #assembly: Assembly
  readonly #listener: Listener
  readonly #arrivals: Arrivals
  readonly #undo: Undo
  #closing: Promise<void> | undefined
  #settle = () => {}

  constructor(assembly: Assembly, listener: Listener, arrivals: Arrivals, undo: Undo) {
    super(assembly.hub)
    this.url = listener.url
    this.log = assembly.log
    this.#assembly = assembly
    this.#listener = listener
    this.#arrivals = arrivals
    this.#undo = undo
    this.closed = new Promise(resolve => {
      this.#settle = resolve
    })
    for (const name of BOUND) Object.defineProperty(this, name, { value: this[name].bind(this as never) })
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown().finally(this.#settle)
    return this.#closing
  }

  get failure(): unknown {
    return this.#assembly.failure
  }

  get reloadable(): boolean {
    const { options, filters } = this.#assembly
    return options.key !== undefined || filters.some(({ handlers }) => handlers.reload !== undefined)
  }

  reload(): boolean {
    const reloaded = reloadAll(() => this.#listener.reload(), this.#assembly.filters)
    if (reloaded) this.log.info('TLS files reloaded')
    return reloaded
  }

  stopAsAsked(): void {
    // While the first clients are closed, `close` has not returned yet.
    if (this.#assembly.state === 'draining') return
    this.log.info(`stopping: ${this.#assembly.stopAsked}`)
    this.close().catch(error => logError(this.log, 'fatal', error, 'stopping failed'))
  }

  async #shutDown(): Promise<void> {
    const { hub, options } = this.#assembly
    this.#assembly.state = 'draining'
    const others = this.#listener.close()
    this.#arrivals.refusePending()
    try {
      await drain(hub, options.drain * 1000, others)
    } finally {
      for (const client of hub.clients.values()) client.terminate()
      await this.#undo.run()
      this.#listener.closeAll()
    }
    this.log.info('stopped')
  }
}

/** Milliseconds: two heartbeats, after which a lost client is noticed, or one minute; at least twice the handshake timeout. */
function idleTimeoutOf({ heartbeat, 'handshake-timeout': handshake }: CoreOptions): number {
  return Math.min(MAX_TIMER, Math.ceil(1000 * Math.max(2 * (heartbeat || 30), 2 * handshake)))
}
