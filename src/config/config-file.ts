import { basename, dirname, extname } from 'node:path'
import {
  createScanner,
  findNodeAtLocation,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser'
import { FwsError, messageOf } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import { readRegularBytes } from '../kit/regular-file.ts'
import { kebab } from './options.ts'
import type { Given } from './settings.ts'

/** Nesting depth of a config file. */
const MAX_DEPTH = 100

/** The switch that selects Redis in config files of filtered_websocket (Python). */
const ANCESTOR_REDIS = 'redis'
const FORMATS: Readonly<Record<string, string>> = {
  yaml: 'YAML',
  yml: 'YAML',
  toml: 'TOML',
  ini: 'INI',
  json5: 'JSON5',
  js: 'JavaScript',
  mjs: 'JavaScript',
  cjs: 'JavaScript',
  ts: 'TypeScript',
}
/** The first line of a file in another format; lines that begin with # are removed. */
const FIRST_LINES: readonly (readonly [RegExp, string])[] = [
  [/^(?:---|%YAML|- |["']?[\w-]+["']?:(?:\s|$))/, 'YAML'],
  [/^(?:export|import|const|module\.exports)\b/, 'JavaScript'],
  [/^(?:\[+[\w.-]+\]+|[\w.-]+\s*=)/, 'TOML or INI'],
]
/** A name without quotes, a string in single quotes, and numbers that JSON does not have. */
const JSON5 = /^(?:[A-Za-z_$][\w$]*\s*:|'|\+|\.\d|[xX][\dA-Fa-f]|Infinity|NaN)/

/** The name of a filter that is passed as a module. */
export const INLINE = 'inline'

/** A filter as named in options. */
export interface FilterRef {
  /** A name, or in the API a module. */
  readonly name: string | FilterModule
  /** Base folder of a relative name. */
  readonly base: string
  /** Options for this position in the chain only. */
  readonly options?: ReadonlyMap<string, Given>
}

export interface Config {
  /** Keys in kebab-case. */
  readonly values: ReadonlyMap<string, Given>
  /** `undefined` if the file does not name filters. */
  readonly filters: readonly FilterRef[] | undefined
}

/**
 * Reads a config file: JSON with comments and trailing commas; lines that begin with `#` are ignored.
 *
 * @throws FwsError `ERR_CONFIG` with line and column.
 */
export function readConfig(path: string): Config {
  let bytes: Buffer
  try {
    bytes = readRegularBytes(path)
  } catch (error) {
    throw new FwsError('ERR_CONFIG', `cannot read config file ${path}: ${messageOf(error)}`, error)
  }
  if (isUtf16(bytes)) throw new FwsError('ERR_CONFIG', `${path}: it is UTF-16; save it as UTF-8`)
  const text = bytes.toString('utf8')
  // Replaced by spaces, not removed, so that positions in errors are right; also a byte order mark.
  const json = text.replace(/^\uFEFF/, ' ').replace(/^#.*$/gm, line => ' '.repeat(line.length))
  refuseDeep(path, json)
  const errors: ParseError[] = []
  const root = parseTree(json, errors, { allowTrailingComma: true })
  const [error] = errors
  if (error !== undefined) {
    const problem = printParseErrorCode(error.error).replace(/(?<=[a-z])[A-Z]/g, capital => ` ${capital.toLowerCase()}`)
    throw new FwsError(
      'ERR_CONFIG',
      `${path}:${position(json, error.offset)}: ${problem.toLowerCase()}${otherFormat(path, json, error.offset)}`,
    )
  }
  if (root?.type !== 'object') throw new FwsError('ERR_CONFIG', `${path}: a config file holds one JSON object`)
  return readObject(root, {
    source: basename(path),
    base: dirname(path),
    at: node => `${path}:${position(json, node.offset)}`,
  })
}

/** By its byte order mark, or by the zero byte of its first character, which is ASCII. */
function isUtf16(bytes: Buffer): boolean {
  const [first, second] = bytes
  return (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || first === 0 || second === 0
}

/** Names the format of a file that is not JSON, by its extension or by the place of the first error. */
function otherFormat(path: string, json: string, offset: number): string {
  const extension = extname(path).slice(1).toLowerCase()
  const start = json.trimStart()
  const format =
    FORMATS[extension] ??
    FIRST_LINES.find(([pattern]) => pattern.test(start))?.[1] ??
    (start.startsWith('{') && JSON5.test(json.slice(offset)) ? 'JSON5' : undefined)
  return format === undefined
    ? ''
    : `; it looks like ${format}, and a config file is JSON: quote names and strings with double quotes`
}

/** Deep nesting would overflow the stack of the recursive parser. */
function refuseDeep(path: string, json: string): void {
  const scanner = createScanner(json, true)
  let depth = 0
  for (scanner.scan(); scanner.getTokenOffset() < json.length; scanner.scan()) {
    const first = json[scanner.getTokenOffset()]
    if (first === '{' || first === '[') depth++
    else if (first === '}' || first === ']') depth--
    if (depth > MAX_DEPTH)
      throw new FwsError('ERR_CONFIG', `${path}: nested ${depth} levels deep; a config file needs a few`)
  }
}

/** Reads the options of the API: the object of a config file, in which filters may also be modules. */
export function readGiven(given: Readonly<Record<string, unknown>>, base: string): Config {
  const { filters, ...rest } = given
  const values = new Map<string, Given>()
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined) values.set(kebab(key), { value, label: `option ${key}`, source: 'createServer', base })
  }
  if (filters === undefined) return { values, filters: undefined }
  const refs = [filters].flat().map(entry => {
    const [name, options] = Array.isArray(entry) ? entry : [entry, undefined]
    return { name, base, ...(options && { options: readGiven(options, base).values }) } as FilterRef
  })
  const names = refs.map(({ name }) => (typeof name === 'string' ? name : INLINE))
  values.set('filters', { value: names, label: 'option filters', source: 'createServer', base })
  return { values, filters: refs }
}

interface Reading {
  readonly source: string
  readonly base: string
  /** Position of a node, for errors. */
  at(node: Node): string
}

function readObject(root: Node, reading: Reading): Config {
  const values = new Map<string, Given>()
  let filters: readonly FilterRef[] | undefined
  const set = (key: Node, name: string, value: unknown) => {
    const label = `${reading.at(key)}: ${key.value}`
    if (values.has(name)) throw new FwsError('ERR_CONFIG', `${label} is given twice`)
    values.set(name, { value, label, source: reading.source, base: reading.base })
  }
  for (const [key, value] of entriesOf(root)) {
    const name = kebab(String(key.value))
    if (name === '$schema') continue
    if (name === 'flags') {
      for (const flag of switchesOf(value, reading)) {
        if (flag.value === ANCESTOR_REDIS) set(flag, 'storage', 'redis')
        else set(flag, kebab(String(flag.value)), true)
      }
    } else if (name === 'filters') {
      filters = filtersOf(value, reading)
      set(
        key,
        name,
        filters.map(filter => filter.name),
      )
    } else set(key, name, getNodeValue(value))
  }
  return { values, filters }
}

function switchesOf(array: Node, reading: Reading): readonly Node[] {
  const names = array.children ?? []
  if (array.type === 'array' && names.every(name => name.type === 'string')) return names
  throw new FwsError('ERR_CONFIG', `${reading.at(array)}: flags takes an array of switch names`)
}

function filtersOf(value: Node, reading: Reading): readonly FilterRef[] {
  const entries = value.type === 'array' ? (value.children ?? []) : [value]
  return entries.map(entry => {
    if (entry.type === 'string') return { name: entry.value, base: reading.base }
    const name = findNodeAtLocation(entry, [0])
    const options = findNodeAtLocation(entry, [1])
    if (
      entry.type !== 'array' ||
      name?.type !== 'string' ||
      options?.type !== 'object' ||
      entry.children?.length !== 2
    ) {
      throw new FwsError('ERR_CONFIG', `${reading.at(entry)}: a filter is a name, or [name, {options}]`)
    }
    return { name: name.value, base: reading.base, options: readObject(options, reading).values }
  })
}

function entriesOf(object: Node): readonly (readonly [Node, Node])[] {
  return (object.children ?? []).flatMap(({ children }) =>
    children?.length === 2 ? [[children[0]!, children[1]!] as const] : [],
  )
}

function position(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n')
  return `${before.length}:${before.at(-1)!.length + 1}`
}
