import { parseArgv } from './argv.ts'
import { type Config, type FilterRef, readConfig } from './config-file.ts'
import { FwsError } from './errors.ts'
import { type PlacedFilter, placeFilters } from './filters.ts'
import { type LoadedModule, type Loader, STORAGE } from './loader.ts'
import { suggest } from './nearest.ts'
import { type CoreOptions, commandOptions, coreOptions } from './options.ts'
import {
  type Claim,
  claim,
  envLayer,
  type Given,
  type Layer,
  type OptionValue,
  resolveSettings,
  type Setting,
  unknownVariables,
} from './settings.ts'
import type { StorageModule } from './types.ts'

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

  const flags = parseArgv(argv, claims, base, false)
  const vars = withAncestorStorage(envLayer(env, claims, base), env, base)
  const configPath = (flags.get('config') ?? vars.get('config') ?? given?.values.get('config')) as Given | undefined
  const config = configPath === undefined ? undefined : readConfig(pathOf(claims, configPath))
  const layersBeforeFile = (own: Layer, own2: Layer) =>
    [own, own2, given?.values, config?.values].filter(layer => layer !== undefined)

  const first = layersBeforeFile(flags, vars)
  const storage = await loadStorage(first, loader)
  const filters = await placeFilters(filterRefs(first, given, config, base), loader)
  claim(claims, `storage ${storage.name}`, storage.module.options ?? {})
  claimFilters(claims, filters)

  const allFlags = parseArgv(argv, claims, base, true)
  const allVars = withAncestorStorage(envLayer(env, claims, base), env, base)
  const layers = layersBeforeFile(allFlags, allVars)
  refuseUnknownKeys([given?.values, config?.values], claims)
  for (const filter of filters) refuseUnknownKeys([ownOptions(filter)], claims)
  const chosen = resolveSettings(claims, layers)
  const settings = raiseLimits(chosen, filters)
  checkTogether(valuesOf(settings) as CoreOptions)
  return {
    filters,
    storage,
    claims,
    settings,
    warnings: unknownVariables(env, claims),
    settingsOf: filter =>
      filter.options.size === 0
        ? settings
        : resolveSettings(claims, [allFlags, allVars, ownOptions(filter), ...layers.slice(2)]),
  }
}

/** Just the values, as filters and the core read them. */
export function valuesOf(settings: ReadonlyMap<string, Setting>): Record<string, OptionValue | undefined> {
  return Object.fromEntries([...settings].map(([name, { value }]) => [name, value]))
}

function pathOf(claims: ReadonlyMap<string, Claim>, given: Given): string {
  const only = new Map([['config', claims.get('config')!]])
  return String(resolveSettings(only, [new Map([['config', given]])]).get('config')!.value)
}

/** The ancestor's variable, under our own. */
function withAncestorStorage(layer: Layer, env: Env, base: string): Layer {
  const value = env.STORAGE_OBJECT_MODULE
  if (value === undefined || value === '' || layer.has('storage')) return layer
  const label = 'STORAGE_OBJECT_MODULE'
  return new Map([...layer, ['storage', { value, label, source: `env ${label}`, base }]])
}

async function loadStorage(layers: readonly Layer[], loader: Loader): Promise<Plan['storage']> {
  const given = layers.map(layer => layer.get('storage')).find(found => found !== undefined)
  const asked = resolveSettings(new Map([['storage', { owner: 'core', spec: coreOptions.storage }]]), layers).get(
    'storage',
  )!.value
  const loaded: LoadedModule = await loader.load(STORAGE, String(asked), given?.base ?? '.')
  if (typeof loaded.exports.open !== 'function')
    throw new FwsError('ERR_MODULE', `storage ${asked}: its export "open" must be a function`)
  return { name: loaded.name, file: loaded.file, module: loaded.exports as unknown as StorageModule }
}

/** The filters of the first source that names any. */
function filterRefs(
  layers: readonly Layer[],
  given: Config | undefined,
  config: Config | undefined,
  base: string,
): readonly FilterRef[] {
  for (const layer of layers.slice(0, 2)) {
    const asked = layer.get('filters')
    if (asked !== undefined) return (asked.value as readonly string[]).map(name => ({ name, base }))
  }
  return given?.filters ?? config?.filters ?? coreOptions.filters.default.map(name => ({ name, base }))
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

function refuseUnknownKeys(layers: readonly (Layer | undefined)[], claims: ReadonlyMap<string, Claim>): void {
  for (const layer of layers) {
    for (const [name, given] of layer ?? []) {
      if (claims.has(name) && !(name in commandOptions) && (name !== 'config' || given.source === 'createServer'))
        continue
      throw new FwsError('ERR_CONFIG', `${given.label} is no option${suggest(name, claims.keys())}`)
    }
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
