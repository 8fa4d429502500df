import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Jiti } from 'jiti'
import { suggest } from '../config/nearest.ts'
import { unlessAborted } from '../contract/deadline.ts'
import { FwsError, messageOf } from '../contract/errors.ts'
import { splitWords } from '../kit/program.ts'
import { EXTENSION, ROOT } from '../root.ts'
import { codeAt, failureOf } from './failure.ts'

const EXTENSIONS = ['.ts', '.mts', '.js', '.mjs', '.cjs']

/** Export conditions of a package; `require` finds packages that are only CommonJS. */
const CONDITIONS = ['node', 'import', 'require']

/** A filter with a command line: `exec:./shout.py --loud`, as a guard `exec-guard:./auth.py`. */
const WITH_COMMAND = /^([a-z0-9 -]+?)(-guard)?:(.*)$/is

/** A kind of module. */
export interface ModuleKind {
  readonly noun: 'filter' | 'storage'
  /** Folder of the built-ins, next to src. */
  readonly folder: string
  /**
   * Names in filtered_websocket (Python): the package, whose first part may be left out, and the modules whose names differ in more
   * than `_` for `-`.
   */
  readonly ancestor: { readonly prefix: string; readonly names: Readonly<Record<string, string>> }
  /** Valid exports; a module must have at least one. */
  readonly keys: readonly string[]
}

export const FILTER: ModuleKind = {
  noun: 'filter',
  folder: 'filters',
  ancestor: {
    prefix: 'filtered_websocket.filters.',
    names: {
      broadcast_messages: 'broadcast',
      broadcast_message_filter: 'broadcast',
      broadcast_messages_by_token: 'broadcast-by-token',
      token_broadcast_filters: 'broadcast-by-token',
    },
  },
  keys: [
    'accept',
    'connect',
    'open',
    'data',
    'message',
    'disconnect',
    'permit',
    'retain',
    'publish',
    'joined',
    'left',
    'consumer',
    'request',
    'start',
    'reload',
    'stop',
    'setup',
  ],
}

export const STORAGE: ModuleKind = {
  noun: 'storage',
  folder: 'storage',
  ancestor: { prefix: 'filtered_websocket.storage_objects.', names: { default: 'memory' } },
  keys: ['open'],
}

export interface LoadedModule {
  /** Short name: `broadcast`, or a file's name without extension. */
  readonly name: string
  /** Name as written by the operator; of a command line only the name of the program. */
  readonly asked: string
  readonly file: string
  readonly exports: Readonly<Record<string, unknown>>
  /** The words of the command line behind the name. */
  readonly command?: readonly string[]
  /** Whether the name makes it a guard. */
  readonly isGuard?: boolean
}

/** Finds and loads filters and storages. */
export class Loader {
  readonly #virtual: Readonly<Record<string, unknown>>
  readonly #signal: AbortSignal | undefined
  readonly #jitis = new Map<string, Promise<Jiti>>()

  /**
   * @param virtual - modules of this package by import id, for modules that are not built in. jiti matches ids exactly.
   * @param signal - cancels loading a module that hangs.
   */
  constructor(virtual: Readonly<Record<string, object>>, signal?: AbortSignal) {
    this.#virtual = virtual
    this.#signal = signal
  }

  /**
   * Loads a module by name: `./x`, `../x`, `/x` or a file URL is a path relative to `base`, with optional extension; a bare name
   * is a built-in, else a package (`filtered-websocket-NAME` first), else a file in `base`. `NAME:COMMAND` is a built-in that takes a
   * command line.
   *
   * @param usedBy - the module that uses it, for errors.
   * @throws FwsError `ERR_MODULE`: not found (with all places tried), a syntax error, a thrown error, or no valid export.
   */
  async load(kind: ModuleKind, asked: string, base: string, usedBy?: string): Promise<LoadedModule> {
    if (asked === '') throw new FwsError('ERR_MODULE', `a ${kind.noun} needs a name, received ""`)
    const commanded = kind === FILTER && !isPath(asked) ? WITH_COMMAND.exec(asked) : null
    if (commanded !== null) return loadWithCommand(asked, commanded[1]!, commanded[2] ?? '', commanded[3]!)
    const wanted = modernName(kind, asked)
    const tried: string[] = isPath(wanted) ? [] : [`built-in ${kind.folder}`]
    const builtin = builtinFile(kind, wanted)
    const file =
      builtin ?? (isPath(wanted) ? this.#findPath(wanted, base, tried) : await this.#findBare(wanted, base, tried))
    if (file === undefined) {
      const user = usedBy === undefined ? '' : `, which ${usedBy} uses`
      const hint = asked.includes(',')
        ? '; separate names by spaces after -f, and in a file or a call as an array'
        : suggest(shortName(wanted), builtinNames(kind))
      throw new FwsError('ERR_MODULE', `no ${kind.noun} "${asked}"${user}${hint}\ntried: ${tried.join('\n       ')}`)
    }
    const module =
      builtin === undefined ? await this.#import(kind, asked, file, base) : await import(pathToFileURL(file).href)
    return { name: shortName(wanted), asked, file, exports: exportsOf(kind, asked, file, module) }
  }

  #findPath(name: string, base: string, tried: string[]): string | undefined {
    const path = pathOf(name, base)
    if (path === undefined) {
      tried.push(name)
      return undefined
    }
    const candidates = [
      path,
      ...EXTENSIONS.map(extension => path + extension),
      ...EXTENSIONS.map(extension => join(path, `index${extension}`)),
    ]
    const found = candidates.find(isFile)
    if (found === undefined) {
      const isWhole = EXTENSIONS.includes(extname(path))
      const endings = `(${EXTENSIONS.join('|')})`
      tried.push(...(isWhole ? [path] : [path + endings, join(path, 'index') + endings]))
    }
    return found
  }

  async #findBare(name: string, base: string, tried: string[]): Promise<string | undefined> {
    for (const candidate of [`filtered-websocket-${name}`, name]) {
      if (hasPackage(candidate, base)) {
        const parentURL = pathToFileURL(join(base, 'x.js')).href
        const found = (await this.#jiti(base)).esmResolve(candidate, { try: true, parentURL, conditions: CONDITIONS })
        if (found !== undefined) return fileURLToPath(found)
      }
      tried.push(`package ${candidate} from ${base}`)
    }
    return this.#findPath(`./${name}`, base, tried)
  }

  async #import(kind: ModuleKind, asked: string, file: string, base: string): Promise<unknown> {
    try {
      const importing = this.#jiti(base).then(jiti => jiti.import(file))
      return await unlessAborted(importing, this.#signal)
    } catch (error) {
      throw new FwsError('ERR_MODULE', `cannot load ${kind.noun} ${asked}: ${problemOf(file, error)}`, error)
    }
  }

  /** Loads the library at the first module that is not built in. */
  #jiti(base: string): Promise<Jiti> {
    let jiti = this.#jitis.get(base)
    if (jiti === undefined) {
      jiti = import('jiti').then(({ createJiti }) =>
        // No cache on disk: other users of the machine may write to its folder.
        createJiti(join(base, 'x.js'), { virtualModules: { ...this.#virtual }, fsCache: false, interopDefault: false }),
      )
      this.#jitis.set(base, jiti)
    }
    return jiti
  }
}

/** Loads a built-in filter that takes a command line. */
async function loadWithCommand(asked: string, name: string, suffix: string, line: string): Promise<LoadedModule> {
  const written = `${name}${suffix}:`
  const file = builtinFile(FILTER, name)
  if (file === undefined) {
    const hint = suggest(name, builtinNames(FILTER))
    throw new FwsError('ERR_MODULE', `no filter "${written}" that takes a command line${hint}`)
  }
  const exports = exportsOf(FILTER, name, file, await import(pathToFileURL(file).href))
  if (exports.takesCommand !== true) {
    const message = `filter ${name} takes no command line; remove the colon of "${written}" and the rest`
    throw new FwsError('ERR_MODULE', message)
  }
  try {
    return { name, asked: shownName(asked), file, exports, command: splitWords(line), isGuard: suffix !== '' }
  } catch (error) {
    throw new FwsError('ERR_OPTION', `filter ${written} ${messageOf(error)}`, error)
  }
}

/** A name as it may be shown: of a command line only the name of the program, since arguments may be secrets. */
export function shownName(asked: string): string {
  const [, name, suffix = '', line] = (isPath(asked) ? null : WITH_COMMAND.exec(asked)) ?? []
  if (line === undefined) return asked
  try {
    return `${name}${suffix}:${basename(splitWords(line)[0]!)}`
  } catch {
    return `${name}${suffix}:`
  }
}

/** Names of the built-in modules. */
export function builtinNames(kind: ModuleKind): string[] {
  return readdirSync(new URL(`${kind.folder}/`, ROOT))
    .filter(file => extname(file) === EXTENSION && !file.endsWith('.d.ts'))
    .map(file => file.slice(0, -EXTENSION.length))
    .sort()
}

function builtinFile(kind: ModuleKind, name: string): string | undefined {
  if (!/^[a-z0-9-]+$/.test(name)) return undefined
  const file = fileURLToPath(new URL(`${kind.folder}/${name}${EXTENSION}`, ROOT))
  return existsSync(file) ? file : undefined
}

function modernName(kind: ModuleKind, asked: string): string {
  const { prefix, names } = kind.ancestor
  const isWhole = asked.startsWith(prefix)
  const short = prefix.slice(prefix.indexOf('.') + 1)
  if (!isWhole && !asked.startsWith(short)) return asked
  const old = asked.slice(isWhole ? prefix.length : short.length)
  const name = Object.hasOwn(names, old) ? names[old]! : old.replaceAll('_', '-')
  // A file or package may be named filters.js.
  return isWhole || builtinFile(kind, name) !== undefined ? name : asked
}

/** The error message for a module that failed to load, with its position and two lines of code. */
function problemOf(file: string, error: unknown): string {
  const message = messageOf(error)
  // jiti counts columns from 0.
  const [, text, path, line, column] = /^ParseError: (.*?)\s*\n\s*(.+):(\d+):(\d+)/.exec(message) ?? []
  if (text !== undefined)
    return `syntax error at ${path}:${line}:${Number(column) + 1}: ${text}${codeAt(path!, Number(line))}`
  const { place, code } = failureOf(file, error)
  // The place is that of the import.
  const problem = message.replace(/\nRequire stack:[\s\S]*/, '').replace(/\s*\n\s*/g, ' ')
  return `${place} fails: ${problem}${code}`
}

/** A name as an absolute path; `undefined` for a file URL with a host. */
function pathOf(name: string, base: string): string | undefined {
  if (!name.startsWith('file:')) return resolve(base, name)
  try {
    return fileURLToPath(name)
  } catch {
    return undefined
  }
}

/** Whether a package is installed in a `node_modules` of the folder or of a parent. */
function hasPackage(name: string, base: string): boolean {
  const parent = dirname(base)
  const [root] = /^(@[^/]+\/)?[^/]+/.exec(name)!
  return existsSync(join(base, 'node_modules', root, 'package.json')) || (parent !== base && hasPackage(name, parent))
}

export function isPath(name: string): boolean {
  return /^(\.{1,2}(\/|\\|$)|file:)/.test(name) || isAbsolute(name)
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    // Missing, a name that is too long or has a NUL byte, or a file in place of a folder.
    return false
  }
}

function shortName(name: string): string {
  const last = name
    .replace(/\/index\.[a-z]+$|[/\\]+$/g, '')
    .split(/[/\\]/)
    .at(-1)!
  const extension = EXTENSIONS.find(known => last.endsWith(known)) ?? ''
  return last.slice(0, last.length - extension.length).replace(/^filtered-websocket-/, '')
}

/** The named exports of a module, or those of its default export. */
function exportsOf(kind: ModuleKind, asked: string, file: string, module: unknown): Readonly<Record<string, unknown>> {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
  const named = isObject(module) ? module : {}
  const found = [named, named.default]
    .filter(isObject)
    .find(exports => kind.keys.some(key => exports[key] !== undefined))
  // Named exports, such as options, add to a default export.
  if (found !== undefined) return found === named ? named : { ...named, ...found }
  const names = Object.keys(named)
  const typo = names.map(name => suggest(name, kind.keys)).find(hint => hint !== '') ?? ''
  const has = names.length === 0 ? 'nothing' : names.join(', ')
  throw new FwsError(
    'ERR_MODULE',
    `${kind.noun} ${asked} (${file}) exports none of ${kind.keys.join(', ')}; it exports ${has}${typo}`,
  )
}
