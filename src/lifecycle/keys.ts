import { INLINE } from '../config/config-file.ts'
import { hintFor, suggest } from '../config/nearest.ts'
import { type Claim, COMMAND_LINE, type Given, type Layer } from '../config/settings.ts'
import { FwsError } from '../contract/errors.ts'
import type { PlacedFilter } from '../modules/placement.ts'

/** Keys of config files of filtered_websocket (Python), which had no effect without Redis. */
const ANCESTOR_REDIS = ['redis-host', 'redis-port', 'redis-channels', 'redis-key']
const ON_COMMAND_LINE = '; it belongs on the command line'

/** Options of one place may leave out the filter's name: `["words", {"max": 5}]`. */
export function ownOptions({
  name: filter,
  module,
  options,
}: Pick<PlacedFilter, 'name' | 'module' | 'options'>): Layer {
  const own = Object.keys(module.options ?? {})
  const fullName = (name: string) => {
    if (own.includes(name)) return name
    const named = own.filter(known => (filter === INLINE ? known.endsWith(`-${name}`) : known === `${filter}-${name}`))
    return named.length === 1 ? named[0]! : name
  }
  return new Map([...options].map(([name, value]) => [fullName(name), value]))
}

/**
 * Refuses keys of a config file or of `createServer` that are not options.
 *
 * @param elsewhere - owner by option of modules that are not chosen.
 * @param idle - keys that are allowed without an effect.
 * @throws FwsError `ERR_CONFIG`
 */
export function refuseUnknownKeys(
  layer: Layer,
  claims: ReadonlyMap<string, Claim>,
  elsewhere: ReadonlyMap<string, string>,
  idle: readonly Given[],
): void {
  for (const [name, given] of layer) {
    if (idle.includes(given)) continue
    const misplaced = isMisplaced(name, given, claims)
    if (claims.has(name) && !misplaced) continue
    const hint = misplaced ? ON_COMMAND_LINE : hintFor(name, claims.keys(), elsewhere)
    throw new FwsError('ERR_CONFIG', `${given.label} is not an option${hint}`)
  }
}

/** Values that only storage `redis` reads, in a file that was written for filtered_websocket (Python). */
export function keysOfRedis(layer: Layer, claims: ReadonlyMap<string, Claim>): readonly Given[] {
  return [...layer].flatMap(([name, given]) =>
    ANCESTOR_REDIS.includes(name) && !claims.has(name) && given.source !== 'createServer' ? [given] : [],
  )
}

/** Refuses options of one place that its filter does not have. @throws FwsError `ERR_CONFIG` */
export function refuseForeignKeys(filter: PlacedFilter, claims: ReadonlyMap<string, Claim>): void {
  const own = Object.keys(filter.module.options ?? {})
  for (const [name, given] of ownOptions(filter)) {
    if (own.includes(name)) continue
    const prefix = `${filter.name}-`
    const short = own.flatMap(option => (option.startsWith(prefix) ? [option.slice(prefix.length)] : []))
    const owner = claims.get(name)?.owner
    const hint = isMisplaced(name, given, claims)
      ? ON_COMMAND_LINE
      : owner === 'core'
        ? '; it belongs to the server, not to one place'
        : owner === undefined
          ? suggest(name, [...short, ...own])
          : `; it belongs to ${owner}`
    throw new FwsError(
      'ERR_CONFIG',
      `${given.label} is not an option of filter ${filter.name}${hint || (own.length === 0 ? ', which has none' : '')}`,
    )
  }
}

/** Whether a key selects a mode or, in a config file, names another one. */
function isMisplaced(name: string, given: Given, claims: ReadonlyMap<string, Claim>): boolean {
  return claims.get(name)?.owner === COMMAND_LINE || (name === 'config' && given.source !== 'createServer')
}
