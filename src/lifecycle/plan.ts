import { isIPv6 } from 'node:net'
import { readArgv, refuseWrong } from '../config/argv.ts'
import { type Config, type FilterRef, readConfig } from '../config/config-file.ts'
import { type Env, environmentWarnings, readEnvironment, unknownNames } from '../config/environment.ts'
import { type CoreOptions, commandOptions, coreOptions } from '../config/options.ts'
import {
  type Claim,
  COMMAND_LINE,
  claim,
  type Layer,
  type OptionValue,
  resolveSettings,
  type Setting,
} from '../config/settings.ts'
import type { Awaitable } from '../contract/deadline.ts'
import { FwsError, messageOf, shown } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import type { OptionSpecs } from '../contract/option.ts'
import type { StorageModule } from '../contract/storage.ts'
import { readOriginPattern } from '../http/origin-pattern.ts'
import { readProxies } from '../http/proxies.ts'
import { isHostHeader } from '../kit/host.ts'
import { optionsElsewhere } from '../modules/elsewhere.ts'
import { type Loader, STORAGE } from '../modules/loader.ts'
import { type PlacedFilter, placeFilters } from '../modules/placement.ts'
import { checkShape } from '../modules/shape.ts'
import { keysOfRedis, ownOptions, refuseForeignKeys, refuseUnknownKeys } from './keys.ts'

const NOTHING: Layer = new Map()

/** The sources of options, in the order of precedence. */
export interface Sources {
  readonly argv?: readonly string[]
  readonly env?: Env
  /** Options of `createServer`. */
  readonly given?: Config
  /** The working directory. */
  readonly base: string
  /** Flags of a command that runs the chains without a listener; its storage is memory unless the command line names another. */
  readonly offline?: OptionSpecs
}

/** A server before it runs: its modules are loaded and its options checked. */
export interface Plan {
  readonly filters: readonly PlacedFilter[]
  readonly storage: { readonly name: string; readonly file: string; readonly module: StorageModule }
  readonly claims: ReadonlyMap<string, Claim>
  readonly settings: ReadonlyMap<string, Setting>
  /** Sentences for the log. */
  readonly warnings: readonly string[]
  /** The settings that a filter has at its place in the chain. */
  settingsOf(filter: PlacedFilter): ReadonlyMap<string, Setting>
}

/** Reads the sources in two passes: first the names of filters and storage, then all options, theirs included. */
export async function makePlan(sources: Sources, loader: Loader): Promise<Plan> {
  const { argv = [], env = {}, given, base, offline } = sources
  const claims = coreClaims(offline)
  const { layers, config, refs } = firstPass(sources, claims)
  const configured = await loadStorage(layers, loader)
  const storage = offline === undefined ? configured : await loadStorage(layers.slice(0, 1), loader)
  const filters = await placeFilters(refs, loader)
  claim(claims, `storage ${storage.name}`, storage.module.options ?? {})
  claimFilters(claims, filters)

  const flags = readArgv(argv, claims, base)
  const inner = [given?.values ?? NOTHING, config?.values ?? NOTHING]
  const redis = inner.flatMap(layer => keysOfRedis(layer, claims))
  const unused = claimsOfOther(configured, claims)
  const idle = [...redis, ...inner.flatMap(layer => [...layer].flatMap(([key, it]) => (unused.has(key) ? [it] : [])))]
  const keys = inner.flatMap(layer => [...layer.keys()]).filter(key => !claims.has(key))
  const named = new Map([...claims, ...unused])
  const unknown = [...flags.unknown, ...keys, ...unknownNames(env, named)]
  const elsewhere = unknown.length === 0 ? new Map() : await optionsElsewhere(unknown, loader)
  refuseWrong(flags, claims, elsewhere)
  for (const layer of inner) refuseUnknownKeys(layer, claims, elsewhere, idle)
  for (const filter of filters) refuseForeignKeys(filter, claims)

  const outer = [flags.layer, readEnvironment(env, claims, base)]
  const demanded = withoutThoseOfPlaces(claims, filters)
  const settings = raiseLimits(resolveSettings(demanded, [...outer, ...inner]), filters)
  checkTogether(valuesOf(settings) as unknown as CoreOptions)
  // Precedence: flags, environment, options of one place, options of `createServer`, config file, defaults.
  const atPlace = new Map(
    filters.map(filter => [filter, resolveSettings(demanded, [...outer, ownOptions(filter), ...inner])]),
  )
  return {
    filters,
    storage,
    claims,
    settings,
    warnings: [
      ...environmentWarnings(env, named, elsewhere),
      ...redis.map(
        ({ label }) => `${label} has no effect with storage ${storage.name}; to use Redis, set "storage": "redis"`,
      ),
    ],
    settingsOf: filter => (filter.options.size === 0 ? settings : atPlace.get(filter)!),
  }
}

/** The options of the core, and those of the command line only. */
export function coreClaims(flags: OptionSpecs = commandOptions): Map<string, Claim> {
  const claims = new Map<string, Claim>()
  claim(claims, 'core', coreOptions)
  claim(claims, COMMAND_LINE, flags)
  return claims
}

/** The options of a storage that is configured and not used. */
function claimsOfOther(
  { name, module }: Plan['storage'],
  claims: ReadonlyMap<string, Claim>,
): ReadonlyMap<string, Claim> {
  const specs = Object.entries(module.options ?? {})
  return new Map(
    specs.flatMap(([option, spec]) => (claims.has(option) ? [] : [[option, { owner: `storage ${name}`, spec }]])),
  )
}

/** The options of the core and of all chosen modules that can be loaded, and why others cannot. Values are not checked. */
export async function claimsForHelp(
  sources: Sources,
  loader: Loader,
): Promise<{ readonly claims: ReadonlyMap<string, Claim>; readonly problems: readonly string[] }> {
  const claims = coreClaims(sources.offline)
  const problems: string[] = []
  const attempt = async <T>(work: () => Awaitable<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      problems.push(messageOf(error))
      return undefined
    }
  }
  const { layers, refs } =
    (await attempt(() => firstPass(sources, claims))) ??
    firstPass({ argv: sources.argv ?? [], base: sources.base }, claims, false)
  const storage = await attempt(() => loadStorage(sources.offline === undefined ? layers : layers.slice(0, 1), loader))
  if (storage !== undefined) await attempt(() => claim(claims, `storage ${storage.name}`, storage.module.options ?? {}))
  for (const ref of refs) {
    const filters = await attempt(() => placeFilters([ref], loader))
    if (filters !== undefined) await attempt(() => claimFilters(claims, filters))
  }
  return { claims, problems }
}

/** Names of filters and storage; the values of other options are not checked. */
function firstPass(
  { argv = [], env = {}, given, base }: Sources,
  claims: ReadonlyMap<string, Claim>,
  readsConfig = true,
): { layers: readonly Layer[]; config: Config | undefined; refs: readonly FilterRef[] } {
  const outer = [readArgv(argv, claims, base).layer, readEnvironment(env, claims, base)]
  const values = given?.values ?? NOTHING
  const config = readsConfig ? chosenConfig(claims, [...outer, values]) : undefined
  const layers = [...outer, values, config?.values ?? NOTHING]
  return { layers, config, refs: filterRefs(outer, [given, config], base) }
}

/** The values alone, as filters and the core read them. */
export function valuesOf(settings: ReadonlyMap<string, Setting>): Record<string, OptionValue | undefined> {
  return Object.fromEntries([...settings].map(([name, { value }]) => [name, value]))
}

/** Reads the config file that the layers name. */
export function chosenConfig(claims: ReadonlyMap<string, Claim>, layers: readonly Layer[]): Config | undefined {
  const only = new Map([['config', claims.get('config')!]])
  const path = resolveSettings(only, layers).get('config')!.value
  return path === undefined ? undefined : readConfig(String(path))
}

async function loadStorage(layers: readonly Layer[], loader: Loader): Promise<Plan['storage']> {
  const only = new Map([['storage', { owner: 'core', spec: coreOptions.storage }]])
  const asked = String(resolveSettings(only, layers).get('storage')!.value)
  const base = layers.find(layer => layer.has('storage'))?.get('storage')?.base ?? '.'
  const loaded = await loader.load(STORAGE, asked, base)
  checkShape(STORAGE, loaded)
  return { name: loaded.name, file: loaded.file, module: loaded.exports as unknown as StorageModule }
}

/** The filters of the first source that names any. */
function filterRefs(
  outer: readonly Layer[],
  inner: readonly (Config | undefined)[],
  base: string,
): readonly FilterRef[] {
  const only = new Map([['filters', { owner: 'core', spec: coreOptions.filters }]])
  const asked = resolveSettings(only, outer).get('filters')!
  if (asked.source !== 'default') return (asked.value as readonly string[]).map(name => ({ name, base }))
  const configured = inner.map(config => config?.filters).find(refs => refs !== undefined)
  return configured ?? coreOptions.filters.default.map(name => ({ name, base }))
}

function claimFilters(claims: Map<string, Claim>, filters: readonly PlacedFilter[]): void {
  const known = new Map<string, FilterModule>()
  for (const { name, file, module } of filters) {
    const first = known.get(name) ?? module
    known.set(name, first)
    // A module at two places claims its options once; two modules of one name are two owners.
    const owner = first.options === module.options ? `filter ${name}` : `filter ${name} (${file})`
    claim(claims, owner, module.options ?? {})
  }
}

/** The claims; an option that every place of its filter sets for itself is not required elsewhere. */
function withoutThoseOfPlaces(
  claims: ReadonlyMap<string, Claim>,
  filters: readonly PlacedFilter[],
): ReadonlyMap<string, Claim> {
  const isGiven = (name: string) => {
    const places = filters.filter(({ module }) => Object.hasOwn(module.options ?? {}, name))
    return places.length > 0 && places.every(place => ownOptions(place).has(name))
  }
  return new Map(
    [...claims].map(([name, claim]) => {
      const { demandOption, ...spec } = claim.spec
      return [name, demandOption && isGiven(name) ? { ...claim, spec } : claim]
    }),
  )
}

/** Raises limits to the largest default that a filter needs, unless the operator has set them. */
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

/** Checks values that depend on each other or have a syntax of their own. */
function checkTogether(options: CoreOptions): void {
  options.origins.forEach(readOriginPattern)
  readProxies(options['trust-proxy'])
  checkHosts(options.hosts)
  checkHealthPath(options['health-path'])
  checkTls(options)
}

/** @throws FwsError `ERR_OPTION` for an entry that no Host header can match. */
function checkHosts(hosts: readonly string[]): void {
  for (const host of hosts) {
    if (isHostHeader(host) || isIPv6(host)) continue
    const url = host.includes('://') ? host : `http://${host}`
    const meant = URL.canParse(url) ? new URL(url).host : ''
    const hint = isHostHeader(meant) ? `; the Host header of that is ${meant}` : ''
    throw new FwsError('ERR_OPTION', `--hosts takes host names and addresses, received ${shown(host)}${hint}`)
  }
}

function checkHealthPath(path: string | undefined): void {
  if (path !== undefined && !/^\/[\w.~/-]*$/.test(path))
    throw new FwsError('ERR_OPTION', `--health-path takes a path such as /healthz, received ${shown(path)}`)
}

function checkTls({ key, cert, ca, 'client-cert': clientCert, 'key-passphrase': passphrase }: CoreOptions): void {
  if (passphrase !== undefined && key === undefined)
    throw new FwsError('ERR_OPTION', '--key-passphrase is given without --key; it decrypts that file')
  if (clientCert !== undefined && ca === undefined) {
    throw new FwsError(
      'ERR_OPTION',
      '--client-cert is given without --ca; it names the authorities of client certificates',
    )
  }
  if (ca !== undefined && key === undefined && cert === undefined) {
    throw new FwsError('ERR_OPTION', '--ca is given without --key and --cert; client certificates need TLS')
  }
  if ((key === undefined) === (cert === undefined)) return
  const [has, lacks] = key === undefined ? ['cert', 'key'] : ['key', 'cert']
  throw new FwsError('ERR_OPTION', `--${has} is given without --${lacks}; TLS needs both`)
}
