import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createJiti, type Jiti } from 'jiti'
import { suggest } from '../config/nearest.ts'
import { unlessAborted } from '../contract/deadline.ts'
import { FwsError, messageOf } from '../contract/errors.ts'
import { EXTENSION, ROOT } from '../root.ts'

const EXTENSIONS = ['.ts', '.mts', '.js', '.mjs', '.cjs']

/** Export conditions of a package; with `require`, so that a CommonJS-only package is found. */
const CONDITIONS = ['node', 'import', 'require']

/** What kind of module is looked for. */
export interface ModuleKind {
  readonly noun: 'filter' | 'storage'
  /** Folder of the built-ins, beside src. */
  readonly folder: string
  /** Dotted prefix of the ancestor's names, and its names that are not ours with `_` for `-`. */
  readonly ancestor: { readonly prefix: string; readonly names: Readonly<Record<string, string>> }
  /** Exports of which a module must have at least one. */
  readonly keys: readonly string[]
}

export const FILTER: ModuleKind = {
  noun: 'filter',
  folder: 'filters',
  ancestor: {
    prefix: 'filtered_websocket.filters.',
    names: { broadcast_messages: 'broadcast', broadcast_messages_by_token: 'broadcast-by-token' },
  },
  keys: [
    'connect',
    'open',
    'data',
    'message',
    'disconnect',
    'permit',
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
  /** As the operator wrote it. */
  readonly asked: string
  readonly file: string
  readonly exports: Readonly<Record<string, unknown>>
}

/** Finds and loads the modules that a server is made of. */
export class Loader {
  readonly #virtual: Readonly<Record<string, unknown>>
  readonly #signal: AbortSignal | undefined
  readonly #jitis = new Map<string, Jiti>()

  /**
   * @param virtual - what modules that are not built in import from this package, by id. jiti matches ids exactly.
   * @param signal - ends the wait for a module that hangs.
   */
  constructor(virtual: Readonly<Record<string, object>>, signal?: AbortSignal) {
    this.#virtual = virtual
    this.#signal = signal
  }

  /**
   * Loads by name: `./x`, `../x`, `/x` or a file URL is a path from `base`, with or without extension; a bare name is a
   * built-in, else a package (`filtered-websocket-NAME` first), else a file of that name in `base`.
   *
   * @param usedBy - the module that asks for it, named in an error.
   * @throws FwsError `ERR_MODULE`: not found (with every place tried), a syntax error, a throw, or no known export.
   */
  async load(kind: ModuleKind, asked: string, base: string, usedBy?: string): Promise<LoadedModule> {
    if (asked === '') throw new FwsError('ERR_MODULE', `a ${kind.noun} needs a name, received ""`)
    const wanted = modernName(kind, asked)
    const tried: string[] = isPath(wanted) ? [] : [`built-in ${kind.folder}`]
    const builtin = builtinFile(kind, wanted)
    const file = builtin ?? (isPath(wanted) ? this.#findPath(wanted, base, tried) : this.#findBare(wanted, base, tried))
    if (file === undefined) {
      const user = usedBy === undefined ? '' : `, which ${usedBy} uses`
      const hint = suggest(shortName(wanted), builtinNames(kind))
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

  #findBare(name: string, base: string, tried: string[]): string | undefined {
    for (const candidate of [`filtered-websocket-${name}`, name]) {
      if (hasPackage(candidate, base)) {
        const parentURL = pathToFileURL(join(base, 'x.js')).href
        const found = this.#jiti(base).esmResolve(candidate, { try: true, parentURL, conditions: CONDITIONS })
        if (found !== undefined) return fileURLToPath(found)
      }
      tried.push(`package ${candidate} from ${base}`)
    }
    return this.#findPath(`./${name}`, base, tried)
  }

  async #import(kind: ModuleKind, asked: string, file: string, base: string): Promise<unknown> {
    try {
      return await unlessAborted(this.#jiti(base).import(file), this.#signal)
    } catch (error) {
      throw new FwsError('ERR_MODULE', `cannot load ${kind.noun} ${asked}: ${problemOf(file, error)}`, error)
    }
  }

  #jiti(base: string): Jiti {
    let jiti = this.#jitis.get(base)
    if (jiti === undefined) {
      // No cache on disk: its place would be a folder that others on the machine may write to.
      jiti = createJiti(join(base, 'x.js'), {
        virtualModules: { ...this.#virtual },
        fsCache: false,
        interopDefault: false,
      })
      this.#jitis.set(base, jiti)
    }
    return jiti
  }
}

/** Names of the modules that come with the package. */
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

function modernName({ ancestor }: ModuleKind, asked: string): string {
  if (!asked.startsWith(ancestor.prefix)) return asked
  const old = asked.slice(ancestor.prefix.length)
  return Object.hasOwn(ancestor.names, old) ? ancestor.names[old]! : old.replaceAll('_', '-')
}

/** What went wrong while a module was loaded; a syntax error with its place. */
function problemOf(file: string, error: unknown): string {
  const message = messageOf(error)
  // jiti counts columns from 0.
  const [, text, place, column] = /^ParseError: (.*?)\s*\n\s*(.+:\d+):(\d+)/.exec(message) ?? []
  if (text !== undefined) return `syntax error at ${place}:${Number(column) + 1}: ${text}`
  return `${file} fails: ${message.replace(/\s*\n\s*/g, ' ')}`
}

/** A name as an absolute path; `undefined` for a file URL of another machine. */
function pathOf(name: string, base: string): string | undefined {
  if (!name.startsWith('file:')) return resolve(base, name)
  try {
    return fileURLToPath(name)
  } catch {
    return undefined
  }
}

/** Whether a package of this name is installed for the folder, as Node looks for it. */
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
    // Whatever keeps it from being one: not there, too long a name, a NUL byte, a file where a folder is meant.
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

/** The module's exports, or those of its default export. */
function exportsOf(kind: ModuleKind, asked: string, file: string, module: unknown): Readonly<Record<string, unknown>> {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
  const named = isObject(module) ? module : {}
  const found = [named, named.default]
    .filter(isObject)
    .find(exports => kind.keys.some(key => exports[key] !== undefined))
  // What a module says of itself beside a default export holds for it too.
  if (found !== undefined) return found === named ? named : { ...named, ...found }
  const names = Object.keys(named)
  const typo = names.map(name => suggest(name, kind.keys)).find(hint => hint !== '') ?? ''
  const has = names.length === 0 ? 'nothing' : names.join(', ')
  throw new FwsError(
    'ERR_MODULE',
    `${kind.noun} ${asked} (${file}) exports none of ${kind.keys.join(', ')}; it exports ${has}${typo}`,
  )
}
