import yargs, { type Argv, type Options } from 'yargs'
import { Parser } from 'yargs/helpers'
import { FwsError } from '../contract/errors.ts'
import { suggest } from './nearest.ts'
import { kebab } from './options.ts'
import type { Claim, Given, Layer } from './settings.ts'

/** The ancestor's long options with a single dash. */
const SINGLE_DASH = new Map([
  ['-key', '--key'],
  ['-cert', '--cert'],
])

/**
 * What the command line gives for the claimed options.
 *
 * yargs splits the words; values stay text until they are checked with those of the other layers, so that `-p abc` is
 * refused with what was typed.
 *
 * @param strict - whether a flag that nobody claims is an error; not on the first pass, which looks for `-f`.
 * @param takeWord - gets the words that are no option's; absent: they are as unknown as such a flag.
 */
export function parseArgv(
  argv: readonly string[],
  claims: ReadonlyMap<string, Claim>,
  base: string,
  strict: boolean,
  takeWord?: (word: string) => void,
): Layer {
  const ofType = (...types: string[]) =>
    [...claims].filter(([, { spec }]) => types.includes(spec.type)).map(([name]) => name)
  const words = argv.map(spell)
  // yargs takes any text after `--switch=` for true.
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
  const { _: strays, ...flags } = { ...parsed, ...Object.fromEntries(switches) }
  const layer = new Map<string, Given>()
  for (const [name, value] of Object.entries(flags)) {
    if (!claims.has(name)) continue
    if (value === '' || (Array.isArray(value) && value.length === 0))
      throw new FwsError('ERR_OPTION', `--${name} needs a value`)
    layer.set(name, { value, label: `--${name}`, source: 'flag', base })
  }
  // Last, since what looks like a flag or a word may be the value that is missing above: a secret, perhaps.
  const unknownWords = strays.map(String)
  if (takeWord !== undefined) for (const word of unknownWords.splice(0)) takeWord(word)
  if (strict) refuseUnknown(unknownWords, Object.keys(flags), claims)
  return layer
}

/** The help text: the options under a heading for each owner, and the built-in filters with their descriptions. */
export function helpText(
  claims: ReadonlyMap<string, Claim>,
  builtins: readonly { readonly name: string; readonly description: string }[],
  width: number,
): Promise<string> {
  const help = helpOn(
    'fws-server -f FILTER... [options]\n\nA WebSocket server, composed of filters as a shell composes a pipeline.',
    claims,
    width,
  )
  const longest = Math.max(...builtins.map(({ name }) => name.length))
  const filters = builtins.map(({ name, description }) => `  ${name.padEnd(longest)}  ${description}`)
  help
    .example('fws-server', 'broadcast, and print messages, on 127.0.0.1:9000')
    .example('fws-server -f log ./my-filter.ts broadcast', 'a chain of three')
    .example('fws-server -f rate-limit broadcast --help', 'options of these filters too')
    .epilogue(
      `Built-in filters:\n${filters.join('\n')}\n\nEvery option may also be set as FWS_NAME in the environment or as "name" in the config file.\n\nfws-server token signs and checks tokens for filter jwt: fws-server token --help.`,
    )
  return Promise.resolve(help.getHelp())
}

/** The help text of a command of its own. */
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

/** `-key` is `--key`; `--redis_host=x` is `--redis-host=x`. */
function spell(word: string): string {
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
      : `unexpected word, not shown since it may belong to --${secret}; quote a value that has blanks`,
  )
}
