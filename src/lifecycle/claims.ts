import type { Claim } from '../chain/routes.ts'
import { FwsError } from '../contract/errors.ts'
import type { PlacedFilter } from '../modules/placement.ts'
import type { ReadyFilter } from './filter-setup.ts'

/**
 * The paths that filters claim, in chain order. Guards, observers and the filters that the owner uses handle its clients and requests too.
 *
 * @param healthPath - of `--health-path`, which is answered before all filters.
 * @throws FwsError `ERR_FILTER`: a guard claims a path, or a path is claimed twice.
 */
export function claimsOf(filters: readonly ReadyFilter[], healthPath: string | undefined): readonly Claim[] {
  const claims = filters.flatMap(({ name, placed, paths }, owner) => {
    if (paths.length > 0 && isGuard(placed))
      throw new FwsError('ERR_FILTER', `-f ${name} is a guard, which protects all paths; it must not claim ${paths[0]}`)
    const used = usedBy(placed)
    const isOnPath = (other: PlacedFilter) =>
      isGuard(other) || other.module.stage === 'observer' || other === placed || used.has(other)
    const passes = new Set(filters.flatMap((other, order) => (isOnPath(other.placed) ? [order] : [])))
    return paths.map(path => ({ path, owner, passes }))
  })
  for (const [i, { path, owner }] of claims.entries()) {
    const { name } = filters[owner]!
    const isClash = (other: Claim) =>
      other.owner !== owner && (isWithin(other.path, path) || isWithin(path, other.path))
    const other = claims.slice(0, i).find(isClash)
    if (other !== undefined)
      throw new FwsError(
        'ERR_FILTER',
        `-f ${filters[other.owner]!.name} claims ${other.path}, and -f ${name} claims ${path}; leave one out or change its path`,
      )
    if (healthPath !== undefined && isWithin(healthPath, path))
      throw new FwsError(
        'ERR_FILTER',
        `-f ${name} claims ${path}, and --health-path is ${healthPath}; choose another path`,
      )
  }
  return claims
}

function isGuard({ module }: PlacedFilter): boolean {
  return module.stage === 'guard'
}

/** The filters that a filter uses, directly or through others. */
function usedBy({ uses }: PlacedFilter): ReadonlySet<PlacedFilter> {
  return new Set([...uses.values()].flatMap(used => [used, ...usedBy(used)]))
}

/** Whether a path is another one or lies below it. */
function isWithin(path: string, other: string): boolean {
  return `${path}/`.startsWith(`${other}/`)
}
