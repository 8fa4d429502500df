import yargs, { type Argv, type Options } from 'yargs'
import { Parser } from 'yargs/helpers'
import { FwsError } from '../contract/errors.ts'
import { suggest } from './nearest.ts'
import { kebab } from './options.ts'
import type { Claim, Given, Layer } from './settings.ts'

/** Long options with a single dash, as in filtered_websocket (Python). */
const SINGLE_DASH = new Map([
  ['-key', '--key'],
  ['-cert', '--cert'],
])

/**
 * Reads the claimed options from the command line.
 *
 * Values stay strings until they are checked with those of the other layers, so that errors show them as typed.
 *
 * @param strict - whether an unknown flag is an error; false on the first pass, which only reads `-f`.
 * @param onWord - receives the words that do not belong to an option. Default: they are errors.
 */
export function parseArgv(
  argv: readonly string[],
  claims: ReadonlyMap<string, Claim>,
  base: string,
  strict: boolean,
  onWord?: (word: string) => void,
): Layer {
  const ofType = (...types: string[]) =>
    [...claims].filter(([, { spec }]) => types.includes(spec.type)).map(([name]) => name)
  const words = argv.map(normalize)
  // yargs reads any value after `--switch=` as true.
  const switches = words.flatMap(word => {
    const [, name, value] = /^--([^=]+)=(.*)$/.exec(word) ?? []
    return claims.get(name ?? '')?.spec.type === 'boolean' ? [[name!, value] as const] : []
  })
  const { argv: parsed } = Parser.detailed(words, {
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
  for (const [name, value] of Object.entries(flags)) {
    if (!claims.has(name)) continue
    if (value === '' || (Array.isArray(value) && value.length === 0))
      throw new FwsError('ERR_OPTION', `--${name} needs a value`)
    layer.set(name, { value, label: `--${name}`, source: 'flag', base })
  }
  // After the check for missing values: an unknown flag or word may be a misplaced value, possibly a secret.
  const unknownWords = rest.map(String)
  if (onWord !== undefined) for (const word of unknownWords.splice(0)) onWord(word)
  if (strict) refuseUnknown(unknownWords, Object.keys(flags), claims)
  return layer
}

/** The help text: options grouped by owner, and the built-in filters with their descriptions. */
export function helpText(
  claims: ReadonlyMap<string, Claim>,
  builtins: readonly { readonly name: string; readonly description: string }[],
  width: number,
): Promise<string> {
  const help = helpOn(
    'fws-server -f FILTER... [options]\n\nA WebSocket server composed of filters, as a shell composes a pipeline.',
    claims,
    width,
  )
  const longest = Math.max(...builtins.map(({ name }) => name.length))
  const filters = builtins.map(({ name, description }) => `  ${name.padEnd(longest)}  ${description}`)
  help
    .example('fws-server', 'broadcast and print messages on 127.0.0.1:9000')
    .example('fws-server -f log ./my-filter.ts broadcast', 'a chain of three filters')
    .example('fws-server -f rate-limit broadcast --help', 'help with the options of these filters')
    .epilogue(
      `Built-in filters:\n${filters.join('\n')}\n\nOptions can also be set as FWS_NAME in the environment or as "name" in the config file.\n\nfws-server token signs and checks tokens for filter jwt: fws-server token --help.`,
    )
  return Promise.resolve(help.getHelp())
}

/** The help text of a subcommand. */
export function commandHelp(usage: string, claims: ReadonlyMap<string, Claim>, width: number): Promise<string> {
  return Promise.resolve(helpOn(usage, claims, width).getHelp())
}

function helpOn(usage: string, claims: ReadonlyMap<string, Claim>, width: number): Argv {
  const help = yargs([]).locale('en').scriptName('fws-server').usage(usage).help(false).version(false).wrap(width)
  for (const [name, { owner, spec }] of claims) {
    const option: Options = spec.secret ? { ...spec, defaultDescription: 'none' } : spec
    help.option(name, { ...option, group: headingOf(owner) })
  }
  return help
}

function headingOf(owner: string): string {
  return owner === 'core' ? 'Options:' : `${owner[0]!.toUpperCase()}${owner.slice(1)}:`
}

/** Normalizes an option: `-key` to `--key`, `--redis_host=x` to `--redis-host=x`. */
function normalize(word: string): string {
  const long = SINGLE_DASH.get(word) ?? word
  if (!long.startsWith('--')) return long
  const [name, ...value] = long.slice(2).split('=')
  return [`--${kebab(name!)}`, ...value].join('=')
}

function refuseUnknown(words: readonly string[], flags: readonly string[], claims: ReadonlyMap<string, Claim>): void {
  const known = [...claims].flatMap(([name, { spec }]) => (spec.alias ? [name, spec.alias] : [name]))
  const unknown = flags.find(flag => !known.includes(flag))
  if (unknown !== undefined) {
    const dashes = unknown.length === 1 ? '-' : '--'
    throw new FwsError(
      'ERR_OPTION',
      `unknown option ${dashes}${unknown}${suggest(unknown, claims.keys(), name => `--${name}`)}`,
    )
  }
  const [word] = words
  if (word === undefined) return
  const secret = flags.find(flag => claims.get(flag)?.spec.secret)
  throw new FwsError(
    'ERR_OPTION',
    secret === undefined
      ? `unexpected word "${word}"; filters are named after -f`
      : `unexpected word, not shown since it may belong to --${secret}; quote a value that has spaces`,
  )
}
