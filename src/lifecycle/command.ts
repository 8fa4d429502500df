import type { Readable } from 'node:stream'
import { commandHelp, readArgv, refuseWrong } from '../config/argv.ts'
import type { Config } from '../config/config-file.ts'
import { type Env, readEnvironment } from '../config/environment.ts'
import { coreOptions } from '../config/options.ts'
import { type Claim, claim, type Layer, resolveSettings } from '../config/settings.ts'
import type { Awaitable } from '../contract/deadline.ts'
import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import type { OptionSpecs, OptionValues } from '../contract/option.ts'
import { FILTER, type LoadedModule, type Loader } from '../modules/loader.ts'
import { checkShape } from '../modules/shape.ts'
import { EXTENSION, ROOT } from '../root.ts'
import { ownOptions } from './keys.ts'
import { chosenConfig, valuesOf } from './plan.ts'

/** Commands that start no server, with the built-in filter that each belongs to. */
const FILTER_OF: ReadonlyMap<string, string> = new Map([['token', 'jwt']])
const HELP = { help: { type: 'boolean', default: false, alias: 'h', describe: 'print this help' } } as const
const NOTHING: Layer = new Map()

/** The input of a command. */
export interface CommandInput<O extends OptionSpecs = OptionSpecs> {
  /** Options of the command and of its filter. */
  readonly options: OptionValues<O>
  /** Positional arguments. */
  readonly words: readonly string[]
  readonly stdin: Readable | undefined
}

/** A command is a module in the folder of its filter: `filters/jwt/token.ts`. */
export interface CommandModule<O extends OptionSpecs = OptionSpecs> {
  /** Shown by `--help`. */
  readonly usage: string
  /** Options of the command line only. */
  readonly options: O
  /**
   * Returns the text to print. An error whose `code` is `ERR_OPTION` is the operator's mistake (exit 2), `ERR_COMMAND` a negative
   * answer (exit 1).
   */
  run(input: CommandInput): Awaitable<string>
}

export function isCommand(word: string): boolean {
  return FILTER_OF.has(word)
}

/** Runs a command with the options that its filter would have; returns the text to print. */
export async function runCommand(
  name: string,
  { argv, env, base, stdin, width }: CommandSources,
  loader: Loader,
): Promise<string> {
  const filter = await loader.load(FILTER, FILTER_OF.get(name)!, base)
  checkShape(FILTER, filter)
  const command = await load(name, filter.name)
  const shared = new Map<string, Claim>()
  claim(shared, 'core', { config: coreOptions.config })
  claim(shared, `filter ${filter.name}`, (filter.exports as FilterModule).options ?? {})
  const claims = new Map<string, Claim>()
  claim(claims, 'core', { ...command.options, ...HELP })
  for (const [option, its] of shared) claims.set(option, its)
  const given = readArgv(argv, claims, base)
  const { layer, words } = given
  if (layer.get('help')?.value === true) return commandHelp(command.usage, claims, width)
  refuseWrong({ ...given, words: [] }, claims)
  const outer = [layer, readEnvironment(env, shared, base)]
  const settings = resolveSettings(claims, [...outer, ...configured(filter, chosenConfig(claims, outer))])
  try {
    return await command.run({ options: valuesOf(settings) as OptionValues<OptionSpecs>, words, stdin })
  } catch (error) {
    if (isOptionError(error)) throw new FwsError('ERR_OPTION', messageOf(error), error)
    if ((error as { code?: unknown }).code === 'ERR_COMMAND') throw new FwsError('ERR_COMMAND', messageOf(error), error)
    throw error
  }
}

export interface CommandSources {
  /** Arguments after the command. */
  readonly argv: readonly string[]
  readonly env: Env
  readonly base: string
  readonly stdin?: Readable
  /** Columns of the help. */
  readonly width: number
}

/** Options of the filter in a config file: at its place in the chain, and at the top level. */
function configured({ name, exports }: LoadedModule, config: Config | undefined): readonly Layer[] {
  const options = config?.filters?.find(ref => ref.name === name)?.options ?? NOTHING
  return [ownOptions({ name, module: exports as FilterModule, options }), config?.values ?? NOTHING]
}

async function load(name: string, filter: string): Promise<CommandModule> {
  return import(new URL(`filters/${filter}/${name}${EXTENSION}`, ROOT).href)
}
