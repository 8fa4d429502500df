import { FwsError, messageOf } from '../contract/errors.ts'
import { readRegular } from '../kit/regular-file.ts'
import { suggest } from './nearest.ts'
import { commandOptions, envName } from './options.ts'
import type { Claim, Given, Layer } from './settings.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** The storage variable of filtered_websocket (Python); `FWS_STORAGE` wins. */
const ANCESTOR_STORAGE = 'STORAGE_OBJECT_MODULE'

/** Reads the claimed options from the environment: `FWS_NAME`, and `FWS_NAME_FILE` for secrets. */
export function readEnvironment(env: Env, claims: ReadonlyMap<string, Claim>, base: string): Layer {
  const layer = new Map<string, Given>()
  const set = (name: string, variable: string, value: unknown) =>
    layer.set(name, { value, label: variable, source: `env ${variable}`, base })
  for (const [name, { spec }] of claims) {
    if (Object.hasOwn(commandOptions, name)) continue
    const variable = envName(name)
    const value = env[variable]
    const fileVariable = `${variable}_FILE`
    const file = spec.secret ? env[fileVariable] : undefined
    if (value !== undefined && file !== undefined) {
      throw new FwsError('ERR_OPTION', `${variable} and ${fileVariable} are both set; unset one`)
    }
    if (file !== undefined) set(name, fileVariable, readSecret(fileVariable, file))
    else if (value !== undefined) set(name, variable, spec.type === 'array' ? listOf(value, spec.separator) : value)
  }
  const storage = env[ANCESTOR_STORAGE]
  if (storage && !layer.has('storage')) set('storage', ANCESTOR_STORAGE, storage)
  return layer
}

/** A warning for each unknown `FWS_` variable; not errors, since orchestrators set variables with this prefix. */
export function unknownVariables(env: Env, claims: ReadonlyMap<string, Claim>): string[] {
  const known = [...claims]
    .filter(([name]) => !Object.hasOwn(commandOptions, name))
    .flatMap(([name, { spec }]) => (spec.secret ? [envName(name), `${envName(name)}_FILE`] : [envName(name)]))
  return Object.keys(env)
    .filter(variable => variable.startsWith('FWS_') && !known.includes(variable))
    .map(variable => `environment variable ${variable} names no option${suggest(variable, known, name => name)}`)
}

/** Splits the value of an array option; an empty value stays a string, which is refused later. */
function listOf(value: string, separator: string | RegExp = /[\s,]+/): string | readonly string[] {
  if (value.trim() === '') return value
  return value
    .split(separator)
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
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
