import { dirname, isAbsolute } from 'node:path'
import { type FilterRef, INLINE } from '../config/config-file.ts'
import type { Given } from '../config/settings.ts'
import { FwsError, shown } from '../contract/errors.ts'
import type { Command, FilterModule } from '../contract/filter.ts'
import { FILTER, isPath, type LoadedModule, type Loader } from './loader.ts'
import { checkShape } from './shape.ts'

/** A filter at its position in the chain; a module may have several positions. */
export interface PlacedFilter {
  /** Short name, the owner of its options. */
  readonly name: string
  /** Name as written by the operator. */
  readonly asked: string
  readonly file: string
  /** Base folder of the modules that it names. */
  readonly base: string
  readonly module: FilterModule
  /** Options for this position only. */
  readonly options: ReadonlyMap<string, Given>
  readonly command: Command | undefined
  /** The filters that it uses, by name. */
  readonly uses: ReadonlyMap<string, PlacedFilter>
}

/**
 * Loads the filters in order, each after the filters that it uses and that are not named.
 *
 * @throws FwsError `ERR_MODULE` or `ERR_FILTER`: not found, malformed, a circular use, or a misplaced guard.
 */
export async function placeFilters(refs: readonly FilterRef[], loader: Loader): Promise<readonly PlacedFilter[]> {
  const named: Placing[] = []
  for (const ref of refs) named.push(await loadFilter(ref, loader))
  /** Named and used filters. */
  const all = [...named]
  // Filters that are added meanwhile are visited too.
  for (const filter of all) {
    for (const name of filter.module.uses ?? []) {
      const wanted = await loadFilter({ name, base: baseOf(name, filter) }, loader, filter.asked)
      const used = all.find(other => other.file === wanted.file) ?? wanted
      if (used === wanted) all.push(wanted)
      filter.uses.set(name, used)
    }
  }
  for (const filter of all) {
    for (const name of filter.module.mayUse ?? []) {
      const used = all.find(other => other.asked === name)
      if (used !== undefined) filter.uses.set(name, used)
    }
  }
  for (const filter of named) checkCircles(filter, [])
  const inOrder = orderAsNamed(named)
  checkGuards(inOrder, new Set(named))
  return inOrder
}

/** A filter whose used filters are being loaded. */
type Placing = PlacedFilter & { readonly uses: Map<string, PlacedFilter> }

/** @param path - the filters that lead to this one. */
function checkCircles(filter: PlacedFilter, path: readonly PlacedFilter[]): void {
  const again = path.findIndex(user => user.file === filter.file)
  if (again !== -1) {
    const circle = [...path.slice(again), filter].map(({ name }) => name).join(' -> ')
    throw new FwsError('ERR_FILTER', `filters use each other in a circle: ${circle}`)
  }
  for (const used of filter.uses.values()) checkCircles(used, [...path, filter])
}

/** A path is relative to the file that uses it, as an import; a package is resolved from the operator's folder. */
function baseOf(name: string, { file, base }: PlacedFilter): string {
  return isPath(name) && isAbsolute(file) ? dirname(file) : base
}

/** Named filters keep their order; a filter that is only used is placed before its first user. */
function orderAsNamed(named: readonly PlacedFilter[]): PlacedFilter[] {
  const order: PlacedFilter[] = []
  const wasNamed = new Set(named)
  const add = (filter: PlacedFilter) => {
    for (const used of filter.uses.values()) if (!wasNamed.has(used)) add(used)
    if (!order.includes(filter)) order.push(filter)
  }
  for (const filter of named) add(filter)
  return order
}

/** @param usedBy - the filter that uses it, unless it is named. */
async function loadFilter({ name, base, options }: FilterRef, loader: Loader, usedBy?: string): Promise<Placing> {
  const loaded: LoadedModule =
    typeof name === 'string'
      ? await loader.load(FILTER, name, base, usedBy)
      : {
          name: INLINE,
          asked: INLINE,
          file: '(given to createServer)',
          exports: name as Readonly<Record<string, unknown>>,
        }
  checkShape(FILTER, loaded)
  const { name: short, asked, file, exports, command } = loaded
  const { module, own } = atPlace(loaded, exports as FilterModule, options)
  if (module.takesCommand && command === undefined)
    throw new FwsError('ERR_OPTION', `filter ${asked} needs a command line, such as -f '${asked}:./program'`)
  return {
    name: short,
    asked,
    file,
    base,
    module,
    options: own,
    command: command && { words: command, base },
    uses: new Map(),
  }
}

/** A module of which the place decides whether it is a guard, and the other options of the place. */
function atPlace(
  { asked, isGuard }: LoadedModule,
  module: FilterModule,
  options: FilterRef['options'] = new Map(),
): { module: FilterModule; own: ReadonlyMap<string, Given> } {
  if (module.stage !== 'optional') {
    if (isGuard) throw new FwsError('ERR_FILTER', `filter ${asked} cannot be a guard`)
    return { module, own: options }
  }
  const { guard, ...others } = Object.fromEntries(options)
  if (guard !== undefined && typeof guard.value !== 'boolean')
    throw new FwsError('ERR_CONFIG', `${guard.label} takes true or false, received ${shown(guard.value)}`)
  const { stage: _, ...rest } = module
  return { module: isGuard || guard?.value ? { ...rest, stage: 'guard' } : rest, own: new Map(Object.entries(others)) }
}

function checkGuards(filters: readonly PlacedFilter[], named: ReadonlySet<PlacedFilter>): void {
  const isGuard = ({ module }: PlacedFilter) => module.stage === 'guard'
  const usersOf = (filter: PlacedFilter) => filters.filter(user => [...user.uses.values()].includes(filter))
  // An observer may stand anywhere; a filter that only guards use, directly or through other filters, is placed among them.
  const belongsFirst = (filter: PlacedFilter): boolean =>
    isGuard(filter) || filter.module.stage === 'observer' || (!named.has(filter) && usersOf(filter).every(belongsFirst))
  const firstOther = filters.findIndex(filter => !belongsFirst(filter))
  const late = firstOther === -1 ? undefined : filters.slice(firstOther).find(isGuard)
  if (late === undefined) return
  const right = [...filters.filter(belongsFirst), ...filters.filter(filter => !belongsFirst(filter))]
    .filter(filter => named.has(filter) || isGuard(filter))
    .map(filter => filter.asked)
  const before = filters[firstOther]!.asked
  throw new FwsError('ERR_FILTER', `${late.asked} is a guard and must stand before ${before}: -f ${right.join(' ')}`)
}
