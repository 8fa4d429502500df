import { nearest, suggest } from '../config/nearest.ts'
import { coreOptions, kebab } from '../config/options.ts'
import { checkNumber, numberWanted } from '../config/settings.ts'
import { FwsError, messageOf, shown } from '../contract/errors.ts'
import type { OptionSpec } from '../contract/option.ts'
import type { LoadedModule, ModuleKind } from './loader.ts'

/** Limits that a filter may raise. */
const LIMITS = ['max-payload', 'max-buffered'] as const
const STAGES: readonly unknown[] = ['guard', 'optional', 'observer']
/** Keys that hold one function, not an array. */
const ALONE = ['start', 'reload', 'stop', 'setup']
const HANDLER = 'must be a function, or an array of functions'
/** A path that the URL parser does not change, without a slash at the end. */
const CLAIMED_PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)+$/
const TYPES: readonly unknown[] = ['string', 'number', 'boolean', 'array']

/** Checks the exports of a module. @throws FwsError `ERR_FILTER` with the name of the wrong export. */
export function checkShape(kind: ModuleKind, { asked, exports }: LoadedModule): void {
  const refuse = (problem: string): never => {
    throw new FwsError('ERR_FILTER', `${kind.noun} ${asked}: ${problem}`)
  }
  const named = (key: string, wants: string) =>
    refuse(`its export "${key}" must be ${wants}, received ${typeof exports[key]}`)
  const wrong = wrongHandler(kind, exports)
  if (wrong !== undefined) refuse(`its export "${wrong}" ${HANDLER}, received ${typeof exports[wrong]}`)
  const functions = Object.keys(exports).filter(name => typeof exports[name] === 'function')
  const meant = typo(functions, kind.keys)
  if (meant !== undefined) refuse(`it exports "${meant}"${suggest(meant, kind.keys)}`)
  for (const key of ['uses', 'mayUse', 'needs'])
    if (exports[key] !== undefined && !isNames(exports[key])) named(key, 'an array of names')
  if (exports.describe !== undefined && typeof exports.describe !== 'string') named('describe', 'a string')
  if (exports.stage !== undefined && !STAGES.includes(exports.stage))
    named('stage', '"guard", "optional", "observer" or left out')
  const { listens } = exports
  if (listens !== undefined && listens !== true && !Object.hasOwn(exports.options ?? {}, String(listens)))
    refuse(`its export "listens" must be true or the name of one of its options, received ${shown(listens)}`)
  const wrongPaths = pathProblem(exports.paths)
  if (wrongPaths !== undefined) refuse(`its export "paths" ${wrongPaths}`)
  for (const [limit, bytes] of Object.entries(exports.limits ?? {})) {
    const known = LIMITS.find(name => name === limit)
    const spec: OptionSpec =
      known === undefined ? refuse(`"${limit}" is not a limit${suggest(limit, LIMITS)}`) : coreOptions[known]
    if (typeof bytes !== 'number' || checkNumber(spec, bytes) === undefined)
      refuse(`its limit "${limit}" takes ${numberWanted(spec)}, received ${shown(bytes)}`)
  }
  const options = exports.options ?? {}
  if (typeof options !== 'object') named('options', 'an object of option specifications')
  for (const [name, spec] of Object.entries(options)) checkOption(name, spec, refuse)
}

/** Checks the result of a `setup` like exports. @throws FwsError `ERR_FILTER`. */
export function checkReturned(kind: ModuleKind, asked: string, returned: unknown): void {
  const refuse = (problem: string): never => {
    throw new FwsError('ERR_FILTER', `${kind.noun} ${asked}: its setup returned ${problem}`)
  }
  if (typeof returned !== 'object' || returned === null) refuse(`${messageOf(returned)}, not handlers`)
  const exports = returned as Readonly<Record<string, unknown>>
  const wrong = wrongHandler(kind, exports)
  if (wrong !== undefined) refuse(`a wrong handler: "${wrong}" ${HANDLER}, received ${typeof exports[wrong]}`)
  const wrongPaths = pathProblem(exports.paths)
  if (wrongPaths !== undefined) refuse(`"paths", which ${wrongPaths}`)
  if (exports.explain !== undefined && !isNames(exports.explain))
    refuse(`"explain", which must be an array of strings, received ${shown(exports.explain)}`)
  const known = [...kind.keys.filter(key => key !== 'setup'), 'api', 'paths', 'explain']
  const unknown = Object.keys(exports).find(name => !known.includes(name))
  if (unknown !== undefined) refuse(`"${unknown}", which is none of ${known.join(', ')}${suggest(unknown, known)}`)
}

function wrongHandler(kind: ModuleKind, exports: Readonly<Record<string, unknown>>): string | undefined {
  const isRight = (key: string, handler: unknown) =>
    (ALONE.includes(key) ? [handler] : [handler].flat()).every(one => typeof one === 'function')
  return kind.keys.find(key => exports[key] !== undefined && !isRight(key, exports[key]))
}

/** The problem with the claimed paths of a filter. */
function pathProblem(paths: unknown): string | undefined {
  if (paths === undefined) return undefined
  const wrong = Array.isArray(paths) ? paths.find(path => typeof path !== 'string' || !CLAIMED_PATH.test(path)) : paths
  return wrong === undefined ? undefined : `must be an array of URL paths such as /sse, received ${shown(wrong)}`
}

/** An unknown name that is similar to a valid one. */
function typo(names: readonly string[], known: readonly string[]): string | undefined {
  return names.find(name => !known.includes(name) && nearest(name, known) !== undefined)
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(entry => typeof entry === 'string')
}

function checkOption(name: string, spec: Partial<OptionSpec> | undefined, refuse: (problem: string) => never): void {
  if (!/^[a-z][a-z0-9-]*$/.test(name)) refuse(`option "${name}" must be written as its flag: "${kebab(name)}"`)
  if (!TYPES.includes(spec?.type)) refuse(`option "${name}" needs a type: string, number, boolean or array`)
  if (spec?.describe !== undefined && typeof spec.describe !== 'string')
    refuse(`the description of option "${name}" must be a string, received ${shown(spec.describe)}`)
  const value = spec?.default
  const isRight = value === undefined || (spec?.type === 'array' ? isNames(value) : typeof value === spec?.type)
  if (!isRight) refuse(`the default of option "${name}" must be of its type, ${spec?.type}, received ${shown(value)}`)
}
