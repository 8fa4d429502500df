import type { Argv, Options } from 'yargs'
import Parser from 'yargs-parser'
import { FwsError } from '../contract/errors.ts'
import { hintFor } from './nearest.ts'
import { commandOptions, coreOptions, kebab } from './options.ts'
import { type Claim, COMMAND_LINE, type Given, type Layer } from './settings.ts'

/** The words of a command line. */
export interface Arguments {
  readonly layer: Layer
  /** Options without a value, by name. */
  readonly missing: readonly string[]
  /** Flags that are not claimed, without dashes. */
  readonly unknown: readonly string[]
  /** Words that do not belong to an option. */
  readonly words: readonly string[]
}

/**
 * Reads the claimed options from the command line; of an option that is given several times the last value counts.
 *
 * Values stay strings until they are checked with those of the other layers, so that errors show them as typed.
 */
export function readArgv(argv: readonly string[], claims: ReadonlyMap<string, Claim>, base: string): Arguments {
  const ofType = (...types: string[]) =>
    [...claims].filter(([, { spec }]) => types.includes(spec.type)).map(([name]) => name)
  const given = argv.flatMap((word, i) => normalize(word, argv[i - 1], claims))
  // yargs-parser reads any value after `--switch=` as true.
  const switches = given.flatMap(word => {
    const [, name, value] = /^--([^=]+)=(.*)$/.exec(word) ?? []
    return claims.get(name ?? '')?.spec.type === 'boolean' ? [[name!, value] as const] : []
  })
  const { argv: parsed } = Parser.detailed(given, {
    alias: Object.fromEntries([...claims].flatMap(([name, { spec }]) => (spec.alias ? [[name, [spec.alias]]] : []))),
    string: ofType('string', 'number', 'array'),
    array: ofType('array'),
    boolean: ofType('boolean'),
    configuration: {
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'strip-aliased': true,
    },
  })
  const { _: rest, ...flags } = { ...parsed, ...Object.fromEntries(switches) }
  const layer = new Map<string, Given>()
  const missing: string[] = []
  const unknown: string[] = []
  for (const [name, value] of Object.entries(flags)) {
    const spec = claims.get(name)?.spec
    const values: readonly unknown[] = [value].flat()
    if (spec === undefined) unknown.push(name)
    else if (value === '' || values.length === 0 || (spec.type !== 'array' && values.includes(''))) missing.push(name)
    else {
      // A second config file is refused later: the first may be the one that names the guards.
      const keepsAll = spec.type === 'array' || name === 'config'
      layer.set(name, { value: keepsAll ? value : values.at(-1), label: `--${name}`, source: 'flag', base })
    }
  }
  return { layer, missing, unknown, words: rest.map(String) }
}

/**
 * Refuses options without a value, unknown flags, and words.
 *
 * @param elsewhere - owner by option of modules that are not chosen.
 * @throws FwsError `ERR_OPTION`
 */
export function refuseWrong(
  { layer, missing, unknown, words }: Arguments,
  claims: ReadonlyMap<string, Claim>,
  elsewhere: ReadonlyMap<string, string> = new Map(),
): void {
  const refuse = (problem: string): never => {
    throw new FwsError('ERR_OPTION', problem)
  }
  // Checked first: an unknown flag or word may be a misplaced value, possibly a secret.
  if (missing[0] !== undefined) refuse(`--${missing[0]} needs a value`)
  const [flag] = unknown
  if (flag?.length === 1) refuse(`unknown option -${flag}${switchHint(flag)}`)
  if (flag !== undefined)
    refuse(`unknown option --${flag}${hintFor(flag, claims.keys(), elsewhere, name => `--${name}`)}`)
  const [word] = words
  if (word === undefined) return
  const secret = [...layer.keys()].find(name => claims.get(name)?.spec.secret)
  refuse(
    secret === undefined
      ? `unexpected word "${word}"; filters are named after -f`
      : `unexpected word, not shown since it may belong to --${secret}; quote a value that has spaces`,
  )
}

/** A name with its description, in the help. */
interface Described {
  readonly name: string
  readonly description: string
}

/** The help text: options grouped by owner, the commands and the built-in filters. */
export async function helpText(
  claims: ReadonlyMap<string, Claim>,
  commands: readonly Described[],
  builtins: readonly Described[],
  width: number,
): Promise<string> {
  const help = await helpOn(
    'fws-server -f FILTER... [options]\nfws-server COMMAND [options]\n\nA WebSocket server composed of filters, as a shell composes a pipeline.',
    claims,
    width,
  )
  help
    .example('fws-server', 'broadcast and print messages on 127.0.0.1:9000')
    .example('fws-server -f log ./my-filter.ts broadcast', 'a chain of three filters')
    .example('fws-server -f rate-limit broadcast --help', 'help with the options of these filters')
    .example('fws-server send ws://127.0.0.1:9000', 'send each line of standard input')
    .epilogue(
      `Commands, each with --help:\n${listOf(commands)}\n\nBuilt-in filters:\n${listOf(builtins)}\n\nOptions can also be set as FWS_NAME in the environment or as "name" in the config file.`,
    )
  return help.getHelp()
}

function listOf(described: readonly Described[]): string {
  const longest = Math.max(...described.map(({ name }) => name.length))
  return described.map(({ name, description }) => `  ${name.padEnd(longest)}  ${description}`).join('\n')
}

/** The help text of a subcommand. */
export async function commandHelp(usage: string, claims: ReadonlyMap<string, Claim>, width: number): Promise<string> {
  return (await helpOn(usage, claims, width)).getHelp()
}

async function helpOn(usage: string, claims: ReadonlyMap<string, Claim>, width: number): Promise<Argv> {
  // It only formats the help; loading it would slow down every start.
  const { default: yargs } = await import('yargs')
  const help = yargs([]).locale('en').scriptName('fws-server').usage(usage).help(false).version(false).wrap(width)
  for (const [name, { owner, spec }] of claims) {
    const option: Options = spec.secret ? { ...spec, defaultDescription: 'none' } : spec
    help.option(name, { ...option, group: headingOf(owner) })
  }
  return help
}

function headingOf(owner: string): string {
  return owner === 'core' || owner === COMMAND_LINE ? 'Options:' : `${owner[0]!.toUpperCase()}${owner.slice(1)}:`
}

/**
 * Normalizes a word: `--redis_host=x` to `--redis-host=x`, options of the core with a single dash such as `-key`, as in
 * filtered_websocket (Python), to `--key`, and `-fecho` to `-f echo`.
 */
function normalize(word: string, before: string | undefined, claims: ReadonlyMap<string, Claim>): string[] {
  const [, dashes, name, value] = /^(--?)([A-Za-z][^=]*)(=.*)?$/s.exec(word) ?? []
  if (name === undefined) return [word]
  const long = `--${kebab(name)}${value ?? ''}`
  if (dashes === '--' || isOfCore(kebab(name))) return [long]
  const letter = name[0]!
  const spec = [...claims.values()].find(({ spec }) => spec.alias === letter)?.spec
  if (name.length === 1 || spec?.type === 'boolean') return [word]
  // The rest of an unknown letter could be read as further letters, such as -h. After a flag that takes a value the word may be
  // that value, possibly a secret, which must not become the name of a file in an error.
  return spec === undefined || mayTakeValue(before, claims) ? [`-${letter}`] : [`-${letter}`, word.slice(2)]
}

function mayTakeValue(flag: string | undefined, claims: ReadonlyMap<string, Claim>): boolean {
  const [, name] = /^--(?:no-)?([^=]+)$/.exec(flag ?? '') ?? []
  return name !== undefined && claims.get(kebab(name))?.spec.type !== 'boolean'
}

function isOfCore(name: string): boolean {
  return Object.hasOwn(coreOptions, name) || Object.hasOwn(commandOptions, name)
}

/** `-v` for `--version`. */
function switchHint(letter: string): string {
  const meant = Object.keys(commandOptions).find(name => name[0] === letter.toLowerCase())
  return meant === undefined ? '' : `; did you mean --${meant}?`
}
