import type { Readable } from 'node:stream'
import type { Logger } from 'pino'
import type { Registered } from '../chain/chain.ts'
import type { ErrorReport } from '../chain/report.ts'
import { INLINE } from '../config/config-file.ts'
import type { Server } from '../contract/client.ts'
import { type Deadlines, unlessAborted, withDeadline } from '../contract/deadline.ts'
import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { Host, SetUp, UntrustedFolders } from '../contract/filter.ts'
import type { OptionSpecs, OptionValues } from '../contract/option.ts'
import type { Storage } from '../contract/storage.ts'
import { failureOf } from '../modules/failure.ts'
import { FILTER } from '../modules/loader.ts'
import type { PlacedFilter } from '../modules/placement.ts'
import { checkReturned } from '../modules/shape.ts'
import { mergeHandlers } from './handlers.ts'
import type { FilterOutput } from './output.ts'
import type { Plan } from './plan.ts'
import { repeat } from './timer.ts'
import type { Undo } from './undo.ts'

/** A filter whose setup has run. */
export interface ReadyFilter extends Registered {
  readonly placed: PlacedFilter
  /** URL paths that it claims. */
  readonly paths: readonly string[]
  /** Its lines for `--explain`. */
  readonly explain: readonly string[]
  /** Whether its setup ran or its start was tried, and so its `stop` has to run. */
  begun: boolean
}

/** What all setups share. */
export interface SetupContext {
  readonly plan: Plan
  readonly log: Logger
  readonly report: ErrorReport
  readonly timers: (() => void)[]
  readonly storage: Storage
  readonly stdout: FilterOutput
  /** @throws FwsError `ERR_FILTER`: the server has no standard input, or another filter has it. */
  readonly stdin: () => Readable
  readonly untrustedFolders: UntrustedFolders
  /** Milliseconds for a setup and for each run of `every`; 0: no limit. */
  readonly deadline: number
  readonly deadlines: Deadlines
  readonly signal: AbortSignal | undefined
}

/**
 * Sets up each filter after those that it uses. Returns them in chain order.
 *
 * @param ready - receives each filter as soon as it is set up, so that all of them can be stopped when a later one fails.
 * @throws FwsError `ERR_OPTION`, `ERR_FILTER`.
 */
export async function setUpFilters(
  filters: readonly PlacedFilter[],
  context: SetupContext,
  ready: Map<PlacedFilter, ReadyFilter>,
): Promise<ReadyFilter[]> {
  const apis = new Map<PlacedFilter, unknown>()
  const setUp = async (placed: PlacedFilter): Promise<void> => {
    if (ready.has(placed)) return
    for (const used of placed.uses.values()) await setUp(used)
    const { api, paths = [], explain = [], ...own } = await runSetup(placed, apis, context)
    apis.set(placed, api)
    ready.set(placed, {
      name: placed.asked,
      handlers: mergeHandlers(placed.module, own),
      placed,
      paths: [...(placed.module.paths ?? []), ...paths],
      explain,
      begun: placed.module.setup !== undefined,
    })
  }
  for (const placed of filters) await setUp(placed)
  return filters.map(placed => ready.get(placed)!)
}

/** Starts the filters in order. @throws FwsError `ERR_OPTION`, `ERR_START`. */
export async function startFilters(
  filters: readonly ReadyFilter[],
  server: Server,
  deadline: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const filter of filters) {
    const { placed, handlers } = filter
    filter.begun = true
    try {
      await unlessAborted(withDeadline(handlers.start?.(server), deadline, 'start'), signal)
    } catch (error) {
      throw failed('start', 'ERR_START', placed, error)
    }
  }
}

/** Adds the steps that end the timers of all filters, then stop those that have begun, in reverse order. */
export function addStops(
  { filters, endTimers }: { readonly filters: readonly ReadyFilter[]; endTimers(): void },
  undo: Undo,
): void {
  for (const filter of filters) {
    const { placed, handlers } = filter
    if (handlers.stop !== undefined)
      undo.add(`stop of filter ${placed.asked}`, () => (filter.begun ? handlers.stop!() : undefined))
  }
  undo.add('ending timers', endTimers)
}

async function runSetup(
  placed: PlacedFilter,
  apis: ReadonlyMap<PlacedFilter, unknown>,
  context: SetupContext,
): Promise<SetUp> {
  const { module, asked } = placed
  if (module.setup === undefined) return {}
  let returned: unknown
  try {
    const work = withDeadline(module.setup(hostFor(placed, apis, context)), context.deadline, 'setup')
    returned = await unlessAborted(work, context.signal)
  } catch (error) {
    throw failed('setup', 'ERR_FILTER', placed, error)
  }
  if (returned === undefined) return {}
  checkReturned(FILTER, asked, returned)
  return returned as SetUp
}

/** A mistake of the operator is one sentence; any other error has its place and code. */
function failed(step: 'setup' | 'start', code: string, { asked, file }: PlacedFilter, error: unknown): FwsError {
  if (isOptionError(error)) return new FwsError('ERR_OPTION', `filter ${asked}: ${messageOf(error)}`, error)
  const { place, code: lines } = asked === INLINE ? { place: file, code: '' } : failureOf(file, error)
  return new FwsError(code, `${step} of filter ${asked} (${place}) failed: ${messageOf(error)}${lines}`, error)
}

function hostFor(placed: PlacedFilter, apis: ReadonlyMap<PlacedFilter, unknown>, context: SetupContext): Host {
  const { plan, report, timers } = context
  const { name, asked, module } = placed
  const log = context.log.child({ filter: placed.command === undefined ? name : asked })
  const seconds = (option: string) => Number(plan.settings.get(option)!.value) * 1000
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
    isGuard: module.stage === 'guard',
    command: placed.command,
    timeouts: { handler: seconds('filter-timeout'), drain: seconds('drain') },
    get stdout() {
      return context.stdout.share()
    },
    get stdoutStream() {
      return context.stdout.take()
    },
    get stdin() {
      return context.stdin()
    },
    order: plan.filters.indexOf(placed),
    untrustedFolders: context.untrustedFolders,
    use: wanted => {
      const used = placed.uses.get(wanted)
      if (used === undefined)
        throw new FwsError('ERR_FILTER', `filter ${asked} uses "${String(wanted)}" without listing it in uses`)
      return apis.get(used) as never
    },
    find: wanted => {
      if (!module.mayUse?.includes(wanted))
        throw new FwsError('ERR_FILTER', `filter ${asked} finds "${String(wanted)}" without listing it in mayUse`)
      return apis.get(placed.uses.get(wanted)!) as never
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

/** The values of a module's own options: it does not see the secrets of others. */
export function ownValues<S extends OptionSpecs>(settings: Plan['settings'], specs: S | undefined): OptionValues<S> {
  const names = Object.keys(specs ?? {})
  return Object.fromEntries(names.map(name => [name, settings.get(name)?.value])) as OptionValues<S>
}
