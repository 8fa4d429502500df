import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Logger } from 'pino'
import type { ChainHost } from '../chain/chain.ts'
import { type Chains, compileChains } from '../chain/chains.ts'
import { ErrorReport, logError } from '../chain/report.ts'
import type { CoreOptions } from '../config/options.ts'
import type { Server } from '../contract/client.ts'
import { Deadlines, unlessAborted } from '../contract/deadline.ts'
import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { Checks, Counters } from '../contract/metrics.ts'
import type { OpenStorage } from '../contract/storage.ts'
import { count, createCounters } from '../fanout/counters.ts'
import { Hub, type HubHost } from '../hub/hub.ts'
import { checkNeeds, guardStorage } from '../modules/capabilities.ts'
import type { PlacedFilter } from '../modules/placement.ts'
import { claimsOf } from './claims.ts'
import { addStops, ownValues, type ReadyFilter, type SetupContext, setUpFilters } from './filter-setup.ts'
import { singleInput } from './input.ts'
import { FilterOutput, type StandardOutput } from './output.ts'
import { type Plan, valuesOf } from './plan.ts'
import { Undo } from './undo.ts'
import { createUntrustedFolders } from './untrusted-folders.ts'

/** Log and standard output of a server. */
export interface Streams {
  readonly log: Logger
  /** For filters that write data. Default: none; a filter that needs it is refused. */
  readonly stdout?: StandardOutput | undefined
  /** For the filter that reads it. Default: none; a filter that needs it is refused. */
  readonly stdin?: Readable | undefined
}

/** A server without its listener: storage open, filters set up, chains compiled. */
export interface Assembly {
  readonly options: CoreOptions
  readonly filters: readonly ReadyFilter[]
  readonly storage: OpenStorage
  readonly chains: Chains
  readonly hub: Hub
  readonly counters: Counters
  readonly log: Logger
  /** Set by the owner of the listener; part of `hub.ready`. */
  state: 'starting' | 'listening' | 'draining'
  /** Why a filter has called `server.stop()`; `onStop` is called then. */
  stopAsked: string | undefined
  /** The error for which a filter has called `server.stop()`. */
  failure: unknown
  onStop: () => void
  /** Set by the owner of the listener; called for `server.admit`. */
  onAdmit: Server['admit']
  /** Releases standard output and closes the storage. */
  close(): Promise<void>
  /** Ends the timers of all filters. MUST be called before the filters are stopped. */
  endTimers(): void
}

/**
 * Opens the storage, sets up the filters (those that others use first) and compiles the chains.
 *
 * @param signal - aborts the wait for a module that hangs.
 * @throws FwsError `ERR_STORAGE` when the storage does not open, `ERR_FILTER` when a need is not met or a setup fails;
 * the storage is closed again and filters that were set up are stopped.
 */
export async function assemble(plan: Plan, streams: Streams, signal?: AbortSignal): Promise<Assembly> {
  const options = valuesOf(plan.settings) as unknown as CoreOptions
  const { log } = streams
  const counters = createCounters()
  const report = new ErrorReport(log, counters)
  const instance = randomUUID()
  const storage = await openStorage(plan, log, instance, signal)
  const endings: (() => void)[] = []
  const timers: (() => void)[] = []
  const endTimers = () => {
    for (const end of timers.splice(0)) end()
  }
  const deadlines = new Deadlines()
  const close = async () => {
    endTimers()
    for (const end of endings.splice(0)) end()
    deadlines.release()
    await storage.close?.()
  }
  const ready = new Map<PlacedFilter, ReadyFilter>()
  try {
    const context: SetupContext = {
      plan,
      log,
      report,
      timers,
      storage: guardStorage(plan.storage.name, storage, error =>
        report.add(error, { filter: plan.storage.name, chain: 'bus' }),
      ),
      stdout: new FilterOutput(streams.stdout, counters, endings),
      stdin: singleInput(streams),
      untrustedFolders: createUntrustedFolders(),
      deadline: options['filter-timeout'] * 1000,
      deadlines,
      signal,
    }
    for (const { asked, module } of plan.filters) checkNeeds(asked, module.needs ?? [], plan.storage.name, storage)
    const filters = await setUpFilters(plan.filters, context, ready)
    const host: ChainHost = {
      deadline: context.deadline,
      deadlines,
      report: (error, where) => report.add(error, where),
      held: ({ reach }) => count(counters.drops, reach < 0 ? 'closing client' : 'on hold'),
    }
    const chains = compileChains(filters, host, claimsOf(filters, options['health-path']))
    const assembly: Assembly = {
      options,
      filters,
      storage,
      chains,
      counters,
      log,
      state: 'starting',
      stopAsked: undefined,
      failure: undefined,
      onStop: () => {},
      onAdmit: () => Promise.reject(new FwsError('ERR_STATE', 'admit() needs a server that listens')),
      close,
      endTimers,
      hub: new Hub({
        chains,
        limits: limitsOf(options),
        counters,
        log,
        bus: storage.bus,
        carrier: storage.carrier,
        keepTopics: chains.retentions.empty ? undefined : await topicsIn(plan, storage),
        instance,
        checks: () => ({
          listening: assembly.state === 'listening',
          accepting: assembly.state !== 'draining',
          ...checksOf(storage),
        }),
        storageMetrics: () => storage.metrics?.() ?? {},
        isAccepting: () => assembly.state !== 'draining',
        admit: (req, as) => assembly.onAdmit(req, as),
        stop: (why, error) => {
          assembly.stopAsked ??= why
          if (error !== undefined) {
            assembly.failure ??= error
            logError(log, 'error', error, why)
          }
          assembly.onStop()
        },
        reportCodec: (error, codec) => report.add(error, { filter: codec, chain: 'codec' }),
        reportTransport: (error, transport, id) => report.add(error, { filter: transport, chain: 'transport', id }),
      }),
    }
    return assembly
  } catch (error) {
    const undo = new Undo(log, options.drain * 1000)
    undo.add('closing the storage', close)
    addStops({ filters: [...ready.values()], endTimers }, undo)
    await undo.run()
    throw error
  }
}

async function openStorage(
  { storage: { name, module }, settings }: Plan,
  log: Logger,
  instance: string,
  signal: AbortSignal | undefined,
): Promise<OpenStorage> {
  const options = ownValues(settings, module.options)
  try {
    const host = { options, log: log.child({ storage: name }), instance }
    return await unlessAborted(module.open(host), signal)
  } catch (error) {
    if (error instanceof FwsError) throw error
    const message = `storage ${name} does not open: ${messageOf(error)}`
    throw isOptionError(error)
      ? new FwsError('ERR_OPTION', messageOf(error), error)
      : new FwsError('ERR_STORAGE', message, error)
  }
}

/** Loaded only if a filter keeps topics. @throws FwsError `ERR_FILTER`: the storage has no streams. */
async function topicsIn(plan: Plan, storage: OpenStorage): Promise<HubHost['keepTopics']> {
  checkNeeds('streams', ['streams'], plan.storage.name, storage)
  const { KeptTopics } = await import('../streams/kept-topics.ts')
  return host => new KeptTopics({ ...host, streams: storage.streams! })
}

function checksOf(storage: OpenStorage): Omit<Checks, 'listening' | 'accepting'> {
  const ready = storage.ready?.() ?? true
  const { sending, receiving, writing } = storage.checks?.() ?? { sending: ready, receiving: ready, writing: ready }
  return { storage: ready && sending && receiving && writing, sending, receiving, writing }
}

function limitsOf(options: CoreOptions) {
  return {
    maxBuffered: options['max-buffered'],
    maxBytes: options['max-buffered'],
    maxQueued: options['max-queued'],
    maxClients: options['max-clients'],
    slowClients: options['slow-clients'],
    holdTimeout: options['hold-timeout'] * 1000,
  }
}
