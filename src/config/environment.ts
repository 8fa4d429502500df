import { FwsError, messageOf } from '../contract/errors.ts'
import type { OptionSpec } from '../contract/option.ts'
import { readRegular } from '../kit/regular-file.ts'
import { hintFor } from './nearest.ts'
import { envName, kebab } from './options.ts'
import { type Claim, COMMAND_LINE, type Given, type Layer } from './settings.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** The storage variable of filtered_websocket (Python); `FWS_STORAGE` wins. */
const ANCESTOR_STORAGE = 'STORAGE_OBJECT_MODULE'

/** The value of `FWS_PORT` for a Kubernetes Service or a Docker link named `fws`. */
const ENDPOINT = /^(tcp|udp|sctp):\/\/\S+:\d+$/
/** Names of the other variables of a Service or link. */
const INJECTED = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/

/**
 * Reads the claimed options from the environment: `FWS_NAME`, and `FWS_NAME_FILE` for secrets. White space at the end of a value
 * is removed, since files of variables may have line ends of Windows.
 */
export function readEnvironment(env: Env, claims: ReadonlyMap<string, Claim>, base: string): Layer {
  const layer = new Map<string, Given>()
  const set = (name: string, variable: string, value: unknown) =>
    layer.set(name, { value, label: variable, source: `env ${variable}`, base })
  for (const [name, { owner, spec }] of claims) {
    if (owner === COMMAND_LINE) continue
    const variable = envName(name)
    const value = env[variable]?.trimEnd()
    const fileVariable = `${variable}_FILE`
    const file = spec.secret ? env[fileVariable]?.trimEnd() : undefined
    if (value !== undefined && file !== undefined) {
      throw new FwsError('ERR_OPTION', `${variable} and ${fileVariable} are both set; unset one`)
    }
    if (file !== undefined) set(name, fileVariable, readSecret(fileVariable, file))
    else if (value !== undefined && !isInjected(spec, value)) {
      const given = givenValue(spec, value)
      if (given !== '' || spec.secret || spec.refuseEmpty) set(name, variable, given)
    }
  }
  const storage = env[ANCESTOR_STORAGE]?.trimEnd()
  if (storage && !layer.has('storage')) set('storage', ANCESTOR_STORAGE, storage)
  return layer
}

/**
 * Warnings: one for all variables that an orchestrator injects, and one for each other `FWS_` variable that names no option.
 *
 * @param elsewhere - owner by option of modules that are not chosen.
 */
export function environmentWarnings(
  env: Env,
  claims: ReadonlyMap<string, Claim>,
  elsewhere: ReadonlyMap<string, string>,
): string[] {
  const specs = specsByVariable(claims)
  const { injected, unknown } = withoutEffect(env, specs)
  const owners = new Map([...elsewhere].map(([name, owner]) => [envName(name), owner]))
  const warnings = unknown.map(
    variable =>
      `environment variable ${variable} names no option${hintFor(variable, specs.keys(), owners, name => name)}`,
  )
  if (injected.length === 0) return warnings
  const them = injected.length === 1 ? 'it' : 'them'
  const cause = `Kubernetes or Docker sets ${them} for a service whose name begins with "fws"`
  return [
    `ignored ${injected.join(', ')}: ${cause}; in Kubernetes, enableServiceLinks: false turns this off`,
    ...warnings,
  ]
}

/** The names that unknown `FWS_` variables give as options. */
export function unknownNames(env: Env, claims: ReadonlyMap<string, Claim>): string[] {
  return withoutEffect(env, specsByVariable(claims)).unknown.map(variable => kebab(variable.slice('FWS_'.length)))
}

function specsByVariable(claims: ReadonlyMap<string, Claim>): Map<string, OptionSpec> {
  const specs = new Map<string, OptionSpec>()
  for (const [name, { owner, spec }] of claims) {
    if (owner === COMMAND_LINE) continue
    specs.set(envName(name), spec)
    if (spec.secret) specs.set(`${envName(name)}_FILE`, spec)
  }
  return specs
}

/** The `FWS_` variables that an orchestrator has set, and those that name no option. */
function withoutEffect(env: Env, specs: ReadonlyMap<string, OptionSpec>): { injected: string[]; unknown: string[] } {
  const injected: string[] = []
  const unknown: string[] = []
  for (const [variable, value = ''] of Object.entries(env)) {
    if (!variable.startsWith('FWS_')) continue
    const spec = specs.get(variable)
    if (spec === undefined ? INJECTED.test(variable) || ENDPOINT.test(value) : isInjected(spec, value.trimEnd()))
      injected.push(variable)
    else if (spec === undefined) unknown.push(variable)
  }
  return { injected, unknown }
}

/** Whether an orchestrator has set the value: an endpoint where the option is a number. */
function isInjected({ type }: OptionSpec, value: string): boolean {
  return type === 'number' && ENDPOINT.test(value)
}

/** The value as a config file would have it: an array is split, `yes` and `on` are `true`. An empty string if there is none. */
function givenValue({ type, separator }: OptionSpec, value: string): string | readonly string[] {
  if (type === 'array') return splitAt(value, separator)
  if (type !== 'boolean') return value
  if (/^(true|yes|on)$/i.test(value)) return 'true'
  return /^(false|no|off)$/i.test(value) ? 'false' : value
}

function splitAt(value: string, separator: string | RegExp = /[\s,]+/): '' | readonly string[] {
  const entries = value
    .split(separator)
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
  return entries.length === 0 ? '' : entries
}

function readSecret(variable: string, path: string): string {
  try {
    return readRegular(path).trim()
  } catch (error) {
    // Without the path: the value may be the secret itself.
    const problem = messageOf(error).replace(/, \w+ '.*'$/s, '')
    throw new FwsError('ERR_OPTION', `${variable} names a file that cannot be read: ${problem}`)
  }
}
