import { randomUUID } from 'node:crypto'
import type { Writable } from 'node:stream'
import type { Logger } from 'pino'
import { CHAIN_NAMES, type Chains, compileChains } from '../chain/chains.ts'
import { ErrorReport } from '../chain/report.ts'
import type { CoreOptions } from '../config/options.ts'
import type { Server } from '../contract/client.ts'
import { type Awaitable, Deadlines, unlessAborted, withDeadline } from '../contract/deadline.ts'
import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { Handlers, Host, Output, UntrustedFolders } from '../contract/filter.ts'
import type { Checks, Counters } from '../contract/metrics.ts'
import type { OptionSpecs, OptionValues } from '../contract/option.ts'
import type { OpenStorage, Storage } from '../contract/storage.ts'
import { count, createCounters } from '../fanout/counters.ts'
import { Hub } from '../hub/hub.ts'
import { visible } from '../kit/visible.ts'
import { checkNeeds, guardStorage } from '../modules/capabilities.ts'
import { FILTER } from '../modules/loader.ts'
import type { PlacedFilter } from '../modules/placement.ts'
import { checkReturned } from '../modules/shape.ts'
import { BoundedOutput } from './output.ts'
import { type Plan, valuesOf } from './plan.ts'
import { repeat } from './timer.ts'
import { Undo } from './undo.ts'
import { createUntrustedFolders } from './untrusted-folders.ts'

/** What a server writes to. */
export interface Streams {
  readonly log: Logger
  /** For filters that write data, bytes as they are unless it is a terminal; absent: such a filter is refused. */
  readonly stdout?: (Writable & { readonly isTTY?: boolean }) | undefined
}

/** A filter whose setup has run. */
export interface ReadyFilter {
  readonly placed: PlacedFilter
  readonly handlers: Handlers
  /** Whether its setup ran or its start was tried, so that it is to be stopped. */
  begun: boolean
}

/** A whole server but its listener: storage open, filters set up, chains compiled. */
export interface Assembly {
  readonly options: CoreOptions
  readonly filters: readonly ReadyFilter[]
  readonly storage: OpenStorage
  readonly chains: Chains
  readonly hub: Hub
  readonly counters: Counters
  readonly log: Logger
  /** Told by whoever listens; part of `hub.ready`. */
  state: 'starting' | 'listening' | 'draining'
  /** Why a filter wants the node to stop; whoever listens is told by `onStop`. */
  stopAsked: string | undefined
  onStop: () => void
  /** Lets go of standard output, and closes the storage. */
  close(): Promise<void>
  /** Ends the filters' timers; to be called before the filters are stopped. */
  endTimers(): void
}

/**
 * Opens the storage, sets up the filters (those that others use first) and compiles the chains.
 *
 * @param signal - ends the wait for a module that hangs.
 * @throws FwsError `ERR_STORAGE` when the storage does not open, `ERR_FILTER` when a need is not met or a setup fails;
 * what was opened is closed again, and filters that were set up are stopped.
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
      stdout: outputOf(streams, counters, endings),
      untrustedFolders: createUntrustedFolders(),
      deadline: options['filter-timeout'] * 1000,
      deadlines,
      signal,
    }
    for (const { asked, module } of plan.filters) checkNeeds(asked, module.needs ?? [], plan.storage.name, storage)
    const filters = await setUpAll(plan.filters, context, ready)
    const chains = compileChains(
      filters.map(({ placed, handlers }) => ({ name: placed.asked, handlers })),
      {
        deadline: context.deadline,
        deadlines,
        report: (error, where) => report.add(error, where),
        held: ({ reach }) => count(counters.drops, reach < 0 ? 'closing client' : 'on hold'),
      },
    )
    const assembly: Assembly = {
      options,
      filters,
      storage,
      chains,
      counters,
      log,
      state: 'starting',
      stopAsked: undefined,
      onStop: () => {},
      close,
      endTimers,
      hub: new Hub({
        chains,
        limits: limitsOf(options),
        counters,
        log,
        bus: storage.bus,
        carrier: storage.carrier,
        instance,
        checks: () => ({
          listening: assembly.state === 'listening',
          accepting: assembly.state !== 'draining',
          ...checksOf(storage),
        }),
        storageMetrics: () => storage.metrics?.() ?? {},
        isAccepting: () => assembly.state !== 'draining',
        stop: why => {
          assembly.stopAsked ??= why
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

/** Has every filter that has begun by then stopped, in reverse order, and before that the timers of all. */
export function addStops({ filters, endTimers }: Pick<Assembly, 'filters' | 'endTimers'>, undo: Undo): void {
  for (const filter of filters) {
    const { placed, handlers } = filter
    if (handlers.stop !== undefined)
      undo.add(`stop of filter ${placed.asked}`, () => (filter.begun ? handlers.stop!() : undefined))
  }
  undo.add('ending timers', endTimers)
}

interface SetupContext {
  readonly plan: Plan
  readonly log: Logger
  readonly report: ErrorReport
  readonly timers: (() => void)[]
  readonly storage: Storage
  /** @throws FwsError when the server was given no standard output. */
  readonly stdout: () => Output
  readonly untrustedFolders: UntrustedFolders
  readonly deadline: number
  readonly deadlines: Deadlines
  readonly signal: AbortSignal | undefined
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

/** A module sees its own options and nobody else's secrets. */
function ownValues<S extends OptionSpecs>(settings: Plan['settings'], specs: S | undefined): OptionValues<S> {
  const names = Object.keys(specs ?? {})
  return Object.fromEntries(names.map(name => [name, settings.get(name)?.value])) as OptionValues<S>
}

function checksOf(storage: OpenStorage): Omit<Checks, 'listening' | 'accepting'> {
  const ready = storage.ready?.() ?? true
  const { sending, receiving, writing } = storage.checks?.() ?? { sending: ready, receiving: ready, writing: ready }
  return { storage: ready && sending && receiving && writing, sending, receiving, writing }
}

/** Sets up each filter after those that it uses; answers them in chain order, and puts each into `ready` as soon as it is. */
async function setUpAll(
  filters: readonly PlacedFilter[],
  context: SetupContext,
  ready: Map<PlacedFilter, ReadyFilter>,
): Promise<ReadyFilter[]> {
  const apis = new Map<PlacedFilter, unknown>()
  const setUp = async (placed: PlacedFilter): Promise<void> => {
    if (ready.has(placed)) return
    for (const used of placed.uses.values()) await setUp(used)
    const { api, ...own } = await runSetup(placed, apis, context)
    apis.set(placed, api)
    const handlers = together(placed.module, own)
    ready.set(placed, { placed, handlers, begun: placed.module.setup !== undefined })
  }
  for (const placed of filters) await setUp(placed)
  return filters.map(placed => ready.get(placed)!)
}

async function runSetup(
  placed: PlacedFilter,
  apis: ReadonlyMap<PlacedFilter, unknown>,
  context: SetupContext,
): Promise<Handlers & { api?: unknown }> {
  const { module, asked, file } = placed
  if (module.setup === undefined) return {}
  let returned: unknown
  try {
    const work = withDeadline(module.setup(hostFor(placed, apis, context)), context.deadline, 'setup')
    returned = await unlessAborted(work, context.signal)
  } catch (error) {
    if (isOptionError(error)) throw new FwsError('ERR_OPTION', `filter ${asked}: ${messageOf(error)}`, error)
    throw new FwsError('ERR_FILTER', `setup of filter ${asked} (${file}) failed: ${messageOf(error)}`, error)
  }
  if (returned === undefined) return {}
  checkReturned(FILTER, asked, returned)
  return returned as Handlers
}

function hostFor(placed: PlacedFilter, apis: ReadonlyMap<PlacedFilter, unknown>, context: SetupContext): Host {
  const { plan, report, timers } = context
  const { name, asked, module } = placed
  const log = context.log.child({ filter: name })
  return {
    name,
    options: ownValues(plan.settingsOf(placed), module.options),
    storage: context.storage,
    log,
    limits: {
      'max-payload': Number(plan.settings.get('max-payload')!.value),
      'max-buffered': Number(plan.settings.get('max-buffered')!.value),
    },
    guards: plan.filters.filter(({ module }) => module.stage === 'guard').map(guard => guard.name),
    get stdout() {
      return context.stdout()
    },
    untrustedFolders: context.untrustedFolders,
    use: wanted => {
      const used = placed.uses.get(wanted)
      if (used === undefined)
        throw new FwsError('ERR_FILTER', `filter ${asked} uses "${String(wanted)}" without listing it in uses`)
      return apis.get(used) as never
    },
    every: (ms, run) => {
      timers.push(
        repeat(
          ms,
          run,
          work => context.deadlines.wait(work, context.deadline, 'a run of every()'),
          error => report.add(error, { filter: asked, chain: 'timer' }),
        ),
      )
    },
  }
}

/** A module's own exports, and after them what its setup returned. */
function together(exported: Handlers, returned: Handlers): Handlers {
  const handlers: Record<string, unknown> = {}
  for (const key of [...CHAIN_NAMES, 'permit'] as const) {
    const both = [exported[key] ?? [], returned[key] ?? []].flat()
    if (both.length > 0) handlers[key] = both
  }
  const starts = [exported, returned].filter(own => own.start !== undefined)
  const reloads = [exported, returned].filter(own => own.reload !== undefined)
  const stops = [returned, exported].filter(own => own.stop !== undefined)
  return {
    ...handlers,
    ...(starts.length > 0 && { start: (server: Server) => inTurn(starts.map(own => () => own.start!(server))) }),
    ...(reloads.length > 0 && { reload: () => asOne(reloads.map(own => own.reload!())) }),
    ...(stops.length > 0 && { stop: () => inTurn(stops.map(own => () => own.stop!())) }),
  }
}

async function inTurn(steps: readonly (() => Awaitable<void>)[]): Promise<void> {
  for (const step of steps) await step()
}

/** What several `reload` handlers of one module answered, as one function. */
function asOne(uses: readonly ((() => void) | undefined)[]): () => void {
  const wrong = uses.find(use => use !== undefined && typeof use !== 'function')
  if (wrong !== undefined) throw new Error(`it must return a function, received ${typeof wrong}`)
  return () => {
    for (const use of uses) use?.()
  }
}

function outputOf({ stdout }: Streams, counters: Counters, onClose: (() => void)[]): () => Output {
  let output: Output | undefined
  return () => {
    if (stdout === undefined)
      throw new FwsError('ERR_FILTER', 'no standard output: createServer({ stdout: process.stdout })')
    if (output === undefined) {
      const made = new BoundedOutput(stdout, bytes => {
        counters.stdoutDropped += bytes
      })
      onClose.push(() => made.close())
      output = stdout.isTTY ? { write: text => made.write(visible(text)) } : made
    }
    return output
  }
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
