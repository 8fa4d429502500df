import { resolve } from 'node:path'
import { FwsError, shown } from '../contract/errors.ts'
import type { OptionSpec, OptionSpecs } from '../contract/option.ts'
import { suggest } from './nearest.ts'

export type OptionValue = string | number | boolean | readonly string[]

/** A value before it is checked. */
export interface Given {
  readonly value: unknown
  /** Name in errors: `--port`, `FWS_PORT`, `config.json:3: port`. */
  readonly label: string
  /** Source for `--explain`: flag, env FWS_PORT, config.json. */
  readonly source: string
  /** Base folder of relative paths. */
  readonly base: string
}

/** Values of one source by option; the first layer that has a value wins. */
export type Layer = ReadonlyMap<string, Given>

/** Owner of the options that only the command line has. */
export const COMMAND_LINE = 'the command line'

/** An option with its owner, such as `core`, `filter words` or `storage redis`. */
export interface Claim {
  readonly owner: string
  readonly spec: OptionSpec
}

export interface Setting extends Claim {
  readonly value: OptionValue | undefined
  readonly source: string
}

/**
 * Registers the options of an owner.
 *
 * @throws FwsError `ERR_OPTION` for a name or alias that another owner has claimed.
 */
export function claim(claims: Map<string, Claim>, owner: string, specs: OptionSpecs): void {
  for (const [name, spec] of Object.entries(specs)) {
    const other = claims.get(name)
    if (other !== undefined && other.owner !== owner) {
      throw new FwsError(
        'ERR_OPTION',
        `option --${name} is claimed by ${other.owner} and by ${owner}; rename one of them`,
      )
    }
    const { alias } = spec
    const holder = alias && [...claims].find(([known, { spec: its }]) => known !== name && its.alias === alias)
    if (holder) {
      throw new FwsError(
        'ERR_OPTION',
        `option -${alias} is claimed by ${holder[1].owner} and by ${owner}; rename one of them`,
      )
    }
    claims.set(name, { owner, spec })
  }
}

/** Returns the checked value and the source of each claimed option. */
export function resolveSettings(claims: ReadonlyMap<string, Claim>, layers: readonly Layer[]): Map<string, Setting> {
  const settings = new Map<string, Setting>()
  for (const [name, { owner, spec }] of claims) {
    const given = layers.map(layer => layer.get(name)).find(found => found !== undefined)
    if (given !== undefined) {
      settings.set(name, { owner, spec, value: convert(spec, given), source: given.source })
    } else if (spec.demandOption) {
      const meaning = spec.describe === undefined ? '' : `: ${spec.describe}`
      throw new FwsError('ERR_OPTION', `${owner} needs --${name}${meaning}`)
    } else {
      settings.set(name, { owner, spec, value: spec.default, source: 'default' })
    }
  }
  return settings
}

/** Converts a value to the type of its option. @throws FwsError `ERR_OPTION`. */
function convert(spec: OptionSpec, given: Given): OptionValue {
  const refuse = (wants: string, hint = ''): never => {
    const received = spec.secret ? 'a secret value' : shown(given.value)
    throw new FwsError('ERR_OPTION', `${given.label} takes ${wants}, received ${received}${hint}`)
  }
  const { value } = given
  if (spec.type === 'array') {
    if (value === '') return refuse('a value that is not empty')
    const entries = Array.isArray(value) ? value : [value]
    return entries.map(entry =>
      typeof entry === 'string' || typeof entry === 'number' ? String(entry) : refuse('an array of strings'),
    )
  }
  if (Array.isArray(value)) return refuse('one value')
  switch (spec.type) {
    case 'number':
      return checkNumber(spec, value) ?? refuse(numberWanted(spec))
    case 'boolean': {
      const truth = new Map<unknown, boolean>([
        [true, true],
        [false, false],
        ['true', true],
        ['false', false],
        ['1', true],
        ['0', false],
      ])
      return truth.get(value) ?? refuse('true or false')
    }
    case 'string': {
      if (typeof value !== 'string' && typeof value !== 'number') return refuse('a string')
      const text = String(value)
      if (spec.choices !== undefined && !spec.choices.includes(text)) {
        return refuse(`one of ${spec.choices.join(', ')}`, suggest(text, spec.choices))
      }
      if (text === '') return refuse('a value that is not empty')
      // The value may be a private key instead of its path: it is not shown.
      if (spec.normalize && /[\r\n]/.test(text))
        throw new FwsError('ERR_OPTION', `${given.label} takes a path, received a string with several lines`)
      return spec.normalize ? resolve(given.base, text) : text
    }
  }
}

/** The value as a number; `undefined` if it is not valid for the option. */
export function checkNumber(spec: OptionSpec, value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number !== 'number' || !Number.isFinite(number)) return undefined
  if (spec.integer && !Number.isInteger(number)) return undefined
  if (number < (spec.min ?? Number.NEGATIVE_INFINITY) || number > (spec.max ?? Number.POSITIVE_INFINITY))
    return undefined
  return number
}

/** The valid values of a number option, for an error. */
export function numberWanted({ integer, min, max }: OptionSpec): string {
  const kind = integer ? 'a whole number' : 'a number'
  if (min !== undefined && max !== undefined) return `${kind} from ${min} to ${max}`
  return min === undefined ? kind : `${kind} of at least ${min}`
}
