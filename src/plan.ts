import { parseArgv } from './argv.ts'
import { type Config, type FilterRef, readConfig } from './config-file.ts'
import { FwsError } from './errors.ts'
import { type PlacedFilter, placeFilters } from './filters.ts'
import { type Loader, STORAGE } from './loader.ts'
import { suggest } from './nearest.ts'
import { type CoreOptions, commandOptions, coreOptions } from './options.ts'
import {
  type Claim,
  claim,
  envLayer,
  type Layer,
  type OptionValue,
  resolveSettings,
  type Setting,
  unknownVariables,
} from './settings.ts'
import type { StorageModule } from './types.ts'

const NOTHING: Layer = new Map()

type Env = Readonly<Record<string, string | undefined>>

/** Everything that may say what a server is to be. */
export interface Sources {
  readonly argv?: readonly string[]
  readonly env?: Env
  /** Options of the API. */
  readonly given?: Config
  /** The working directory. */
  readonly base: string
}

/** What a server is to be: modules loaded and options checked, nothing of it running. */
export interface Plan {
  readonly filters: readonly PlacedFilter[]
  readonly storage: { readonly name: string; readonly file: string; readonly module: StorageModule }
  readonly claims: ReadonlyMap<string, Claim>
  readonly settings: ReadonlyMap<string, Setting>
  /** One sentence each, for the log. */
  readonly warnings: readonly string[]
  /** The settings as seen by a filter at its place. */
  settingsOf(filter: PlacedFilter): ReadonlyMap<string, Setting>
}

/**
 * Reads the sources in two passes: first which filters and which storage, then everything, strictly, with the options
 * of all of them. Flags beat environment beat config file beat defaults.
 */
export async function makePlan({ argv = [], env = {}, given, base }: Sources, loader: Loader): Promise<Plan> {
  const claims = new Map<string, Claim>()
  claim(claims, 'core', coreOptions)
  claim(claims, 'core', commandOptions)

  const outer = (strict: boolean): readonly Layer[] => [
    parseArgv(argv, claims, base, strict),
    withAncestorStorage(envLayer(env, claims, base), env, base),
  ]

  const first = outer(false)
  const config = chosenConfig(claims, [...first, given?.values ?? NOTHING])
  const inner = [given?.values ?? NOTHING, config?.values ?? NOTHING]
  const storage = await loadStorage([...first, ...inner], loader)
  const filters = await placeFilters(filterRefs(first, [given, config], base), loader)
  claim(claims, `storage ${storage.name}`, storage.module.options ?? {})
  claimFilters(claims, filters)

  const commands = outer(true)
  for (const layer of [...inner, ...filters.map(ownOptions)]) refuseUnknownKeys(layer, claims)
  const settings = raiseLimits(resolveSettings(claims, [...commands, ...inner]), filters)
  checkTogether(valuesOf(settings) as unknown as CoreOptions)
  return {
    filters,
    storage,
    claims,
    settings,
    warnings: unknownVariables(env, claims),
    settingsOf: filter =>
      filter.options.size === 0 ? settings : resolveSettings(claims, [...commands, ownOptions(filter), ...inner]),
  }
}

/** Just the values, as filters and the core read them. */
export function valuesOf(settings: ReadonlyMap<string, Setting>): Record<string, OptionValue | undefined> {
  return Object.fromEntries([...settings].map(([name, { value }]) => [name, value]))
}

function chosenConfig(claims: ReadonlyMap<string, Claim>, layers: readonly Layer[]): Config | undefined {
  const only = new Map([['config', claims.get('config')!]])
  const path = resolveSettings(only, layers).get('config')!.value
  return path === undefined ? undefined : readConfig(String(path))
}

/** The ancestor's variable, under our own. */
function withAncestorStorage(layer: Layer, env: Env, base: string): Layer {
  const value = env.STORAGE_OBJECT_MODULE
  if (value === undefined || value === '' || layer.has('storage')) return layer
  const label = 'STORAGE_OBJECT_MODULE'
  return new Map([...layer, ['storage', { value, label, source: `env ${label}`, base }]])
}

async function loadStorage(layers: readonly Layer[], loader: Loader): Promise<Plan['storage']> {
  const only = new Map([['storage', { owner: 'core', spec: coreOptions.storage }]])
  const asked = String(resolveSettings(only, layers).get('storage')!.value)
  const base = layers.find(layer => layer.has('storage'))?.get('storage')?.base ?? '.'
  const { name, file, exports } = await loader.load(STORAGE, asked, base)
  if (typeof exports.open === 'function') return { name, file, module: exports as unknown as StorageModule }
  throw new FwsError('ERR_MODULE', `storage ${asked}: its export "open" must be a function`)
}

/** The filters of the first source that names any. */
function filterRefs(
  outer: readonly Layer[],
  inner: readonly (Config | undefined)[],
  base: string,
): readonly FilterRef[] {
  const asked = outer.map(layer => layer.get('filters')).find(given => given !== undefined)
  if (asked !== undefined) return (asked.value as readonly string[]).map(name => ({ name, base }))
  const configured = inner.map(config => config?.filters).find(refs => refs !== undefined)
  return configured ?? coreOptions.filters.default.map(name => ({ name, base }))
}

function claimFilters(claims: Map<string, Claim>, filters: readonly PlacedFilter[]): void {
  const files = new Map<string, string>()
  for (const { name, file, module } of filters) {
    const options = module.options ?? {}
    // Two files of one name are two owners.
    const known = files.get(name)
    const owner = known === undefined || known === file ? `filter ${name}` : `filter ${name} (${file})`
    files.set(name, known ?? file)
    claim(claims, owner, options)
  }
}

/** Options of one place may leave out the filter's name: `["words", {"max": 5}]`. */
function ownOptions(filter: PlacedFilter): Layer {
  const own = Object.keys(filter.module.options ?? {})
  return new Map(
    [...filter.options].map(([name, value]) => [
      own.includes(`${filter.name}-${name}`) ? `${filter.name}-${name}` : name,
      value,
    ]),
  )
}

function refuseUnknownKeys(layer: Layer, claims: ReadonlyMap<string, Claim>): void {
  for (const [name, given] of layer) {
    const known = claims.has(name) && !(name in commandOptions)
    // A config file cannot name another one.
    if (known && (name !== 'config' || given.source === 'createServer')) continue
    throw new FwsError('ERR_CONFIG', `${given.label} is no option${suggest(name, claims.keys())}`)
  }
}

/** The largest default that a filter's protocol needs, unless the operator has said otherwise. */
function raiseLimits(settings: Map<string, Setting>, filters: readonly PlacedFilter[]): Map<string, Setting> {
  for (const { name, module } of filters) {
    for (const [limit, wanted] of Object.entries(module.limits ?? {})) {
      const setting = settings.get(limit)!
      const mayRaise = setting.source === 'default' || setting.source.startsWith('filter ')
      if (mayRaise && Number(setting.value) < wanted)
        settings.set(limit, { ...setting, value: wanted, source: `filter ${name}` })
    }
  }
  return settings
}

function checkTogether({ key, cert }: CoreOptions): void {
  if ((key === undefined) === (cert === undefined)) return
  const [has, lacks] = key === undefined ? ['cert', 'key'] : ['key', 'cert']
  throw new FwsError('ERR_OPTION', `--${has} is given without --${lacks}; TLS needs both`)
}
