import { dirname, isAbsolute } from 'node:path'
import { type FilterRef, INLINE } from '../config/config-file.ts'
import type { Given } from '../config/settings.ts'
import { FwsError } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import { FILTER, isPath, type LoadedModule, type Loader } from './loader.ts'
import { checkShape } from './shape.ts'

/** A filter at its place in the chain; one module may stand at several. */
export interface PlacedFilter {
  /** Short name, the owner of its options. */
  readonly name: string
  /** As the operator wrote it. */
  readonly asked: string
  readonly file: string
  /** Folder that the modules which it names are looked up from. */
  readonly base: string
  readonly module: FilterModule
  /** Options for this place alone. */
  readonly options: ReadonlyMap<string, Given>
  /** What it builds on, by the names that it uses. */
  readonly uses: ReadonlyMap<string, PlacedFilter>
}

/**
 * Loads the filters in order, and before each the ones that it uses and that the operator did not name.
 *
 * @throws FwsError `ERR_MODULE` or `ERR_FILTER`: not found, malformed, in a circle, or a guard out of order.
 */
export async function placeFilters(refs: readonly FilterRef[], loader: Loader): Promise<readonly PlacedFilter[]> {
  const named: Placing[] = []
  for (const ref of refs) named.push(await loadFilter(ref, loader))
  /** Named and used. */
  const all = [...named]
  const placed = new Set<Placing>()

  async function place(filter: Placing, path: readonly Placing[]): Promise<void> {
    const again = path.findIndex(user => user.file === filter.file)
    if (again !== -1) {
      const circle = [...path.slice(again), filter].map(({ name }) => name).join(' -> ')
      throw new FwsError('ERR_FILTER', `filters use each other in a circle: ${circle}`)
    }
    if (placed.has(filter)) return
    for (const name of filter.module.uses ?? []) {
      const wanted = await loadFilter({ name, base: baseOf(name, filter) }, loader, filter.asked)
      const used = all.find(other => other.file === wanted.file) ?? wanted
      if (used === wanted) all.push(wanted)
      await place(used, [...path, filter])
      filter.uses.set(name, used)
    }
    placed.add(filter)
  }

  for (const filter of named) await place(filter, [])
  const inOrder = orderAsNamed(named)
  checkGuards(inOrder, new Set(named))
  return inOrder
}

/** A filter while the ones that it uses are being loaded. */
type Placing = PlacedFilter & { readonly uses: Map<string, PlacedFilter> }

/** A path starts from the file that names it, as an import does; a package is looked up where the operator's are. */
function baseOf(name: string, { file, base }: PlacedFilter): string {
  return isPath(name) && isAbsolute(file) ? dirname(file) : base
}

/** What the operator named keeps the operator's order; a filter that was only used stands right before its first user. */
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

/** @param usedBy - the filter that asks for it, when the operator did not. */
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
  const { name: short, asked, file, exports } = loaded
  return {
    name: short,
    asked,
    file,
    base,
    module: exports as FilterModule,
    options: options ?? new Map(),
    uses: new Map(),
  }
}

function checkGuards(filters: readonly PlacedFilter[], named: ReadonlySet<PlacedFilter>): void {
  const isGuard = ({ module }: PlacedFilter) => module.stage === 'guard'
  const usersOf = (filter: PlacedFilter) => filters.filter(user => [...user.uses.values()].includes(filter))
  // A filter that only guards use, directly or through other filters, is placed among them.
  const belongsFirst = (filter: PlacedFilter): boolean =>
    isGuard(filter) || (!named.has(filter) && usersOf(filter).every(belongsFirst))
  const firstOther = filters.findIndex(filter => !belongsFirst(filter))
  const late = firstOther === -1 ? undefined : filters.slice(firstOther).find(isGuard)
  if (late === undefined) return
  const right = [...filters.filter(belongsFirst), ...filters.filter(filter => !belongsFirst(filter))]
    .filter(filter => named.has(filter) || isGuard(filter))
    .map(filter => filter.asked)
  const before = filters[firstOther]!.asked
  throw new FwsError('ERR_FILTER', `${late.asked} is a guard and must stand before ${before}: -f ${right.join(' ')}`)
}
