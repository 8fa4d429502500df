import type { Readable, Writable } from 'node:stream'
import { commandHelp, readArgv, refuseWrong } from '../config/argv.ts'
import type { Config } from '../config/config-file.ts'
import { type Env, readEnvironment } from '../config/environment.ts'
import { suggest } from '../config/nearest.ts'
import { coreOptions } from '../config/options.ts'
import { type Claim, COMMAND_LINE, claim, type Layer, resolveSettings } from '../config/settings.ts'
import type { Awaitable } from '../contract/deadline.ts'
import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { FilterModule } from '../contract/filter.ts'
import type { OptionSpec, OptionSpecs, OptionValues } from '../contract/option.ts'
import { PieceWriter } from '../kit/piece-writer.ts'
import { FILTER, type LoadedModule, type Loader } from '../modules/loader.ts'
import { checkShape } from '../modules/shape.ts'
import { EXTENSION, ROOT } from '../root.ts'
import { ownOptions } from './keys.ts'
import { chosenConfig, claimsForHelp, coreClaims, makePlan, type Plan, valuesOf } from './plan.ts'

/** Commands that start no server, each with the module that it is, in the folder of the filter or library that it belongs to. */
const COMMANDS: ReadonlyMap<string, string> = new Map([
  ['listen', 'client/commands/listen'],
  ['replay', 'src/offline/replay'],
  ['run', 'src/offline/run'],
  ['send', 'client/commands/send'],
  ['token', 'filters/jwt/token'],
  ['top', 'filters/health/top'],
])
const HELP = { help: { type: 'boolean', default: false, alias: 'h', describe: 'print this help' } } as const
const NOTHING: Layer = new Map()

/** Exit codes: 0 stopped cleanly, 1 failed, 2 usage or config. */
export type ExitCode = 0 | 1 | 2

/** The process, as far as a command needs it. */
export interface CommandStreams {
  readonly stdin?: Readable | undefined
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  /** Aborted when the process is asked to stop (SIGINT, SIGTERM); the command then ends soon. */
  readonly signal?: AbortSignal | undefined
}

/** The input of a command. */
export interface CommandInput<O extends OptionSpecs = OptionSpecs> {
  /** Options of the command and of its filter. */
  readonly options: OptionValues<O>
  /** Positional arguments. */
  readonly words: readonly string[]
  readonly env: Env
  /** The working directory. */
  readonly base: string
  readonly streams: CommandStreams
  /** The chosen filters and the storage, for a command that `runsChains`. */
  readonly plan?: Plan
}

/** A command is a module in the folder of its owner: `filters/jwt/token.ts`. */
export interface CommandModule<O extends OptionSpecs = OptionSpecs> {
  /** One line for the overview in `fws-server --help`. */
  readonly describe: string
  /** Shown by `--help`. */
  readonly usage: string
  /** Options of the command line only, except secrets, which also come from the environment. */
  readonly options: O
  /** It runs the chains without a listener: it also has the options of the core, of the filters and of the storage. */
  readonly runsChains?: true
  /**
   * Returns the text to print (exit 0), or the exit code of a command that has written its output itself. An error whose `code` is
   * `ERR_OPTION` is the operator's mistake (exit 2), `ERR_COMMAND` a negative answer (exit 1).
   */
  run(input: CommandInput): Awaitable<string | ExitCode>
}

/** Whether the first word of a command line is a command. @throws FwsError `ERR_OPTION`: it resembles one. */
export function isCommand(word: string): boolean {
  if (COMMANDS.has(word)) return true
  const hint = word.startsWith('-') ? '' : suggest(word, COMMANDS.keys())
  if (hint !== '') throw new FwsError('ERR_OPTION', `unknown command "${word}"${hint}`)
  return false
}

/** All commands with their descriptions, for `--help`. */
export function describeCommands(): Promise<{ readonly name: string; readonly description: string }[]> {
  const described = [...COMMANDS].map(async ([name, path]) => ({ name, description: (await load(path)).describe }))
  return Promise.all(described)
}

/**
 * Runs a command, with the options that its filter would have if it belongs to one; returns the exit code.
 *
 * @throws FwsError `ERR_COMMAND`: its output cannot be written.
 */
export async function runCommand(name: string, sources: CommandSources, loader: Loader): Promise<ExitCode> {
  const result = await outcomeOf(name, sources, loader)
  if (typeof result === 'number') return result
  const writer = new PieceWriter(sources.streams.stdout)
  void writer.write(`${result}\n`)
  await writer.flush()
  if (writer.failure !== undefined) throw writer.failure
  return 0
}

async function outcomeOf(name: string, sources: CommandSources, loader: Loader): Promise<string | ExitCode> {
  const { argv, env, base, width, streams } = sources
  const path = COMMANDS.get(name)!
  const command = await load(path)
  if (command.runsChains === true) return outcomeOfChains(command, sources, loader)
  const [, owner] = /^filters\/([^/]+)/.exec(path) ?? []
  const filter = owner === undefined ? undefined : await loader.load(FILTER, owner, base)
  const shared = new Map<string, Claim>()
  if (filter !== undefined) {
    checkShape(FILTER, filter)
    claim(shared, 'core', { config: coreOptions.config })
    claim(shared, `filter ${filter.name}`, (filter.exports as FilterModule).options ?? {})
  }
  const claims = new Map<string, Claim>()
  for (const [option, spec] of Object.entries({ ...command.options, ...HELP }))
    claim(claims, isFromEnvironment(spec) ? 'core' : COMMAND_LINE, { [option]: spec })
  for (const [option, its] of shared) claims.set(option, its)
  const given = readArgv(argv, claims, base)
  const { layer, words } = given
  if (layer.get('help')?.value === true) return commandHelp(command.usage, claims, width)
  refuseWrong({ ...given, words: [] }, claims)
  const outer = [layer, readEnvironment(env, claims, base)]
  const inner = filter === undefined ? [] : configured(filter, chosenConfig(claims, outer))
  const settings = resolveSettings(claims, [...outer, ...inner])
  return outcomeOfRun(command, { options: valuesOf(settings) as OptionValues<OptionSpecs>, words, env, base, streams })
}

async function outcomeOfChains(
  command: CommandModule,
  { argv, env, base, width, streams }: CommandSources,
  loader: Loader,
): Promise<string | ExitCode> {
  const sources = { argv, env, base, offline: { ...command.options, ...HELP } }
  if (readArgv(argv, coreClaims(sources.offline), base).layer.get('help')?.value === true) {
    const { claims, problems } = await claimsForHelp(sources, loader)
    for (const problem of problems) streams.stderr.write(`fws-server: options are missing below: ${problem}\n`)
    return commandHelp(command.usage, claims, width)
  }
  const plan = await makePlan(sources, loader)
  const options = valuesOf(plan.settings) as OptionValues<OptionSpecs>
  return outcomeOfRun(command, { options, words: [], env, base, streams, plan })
}

async function outcomeOfRun(command: CommandModule, input: CommandInput): Promise<string | ExitCode> {
  try {
    return await command.run(input)
  } catch (error) {
    if (isOptionError(error)) throw new FwsError('ERR_OPTION', messageOf(error), error)
    if ((error as { code?: unknown }).code === 'ERR_COMMAND') throw new FwsError('ERR_COMMAND', messageOf(error), error)
    throw error
  }
}

/** Other users of the machine can read a secret on a command line, so it also comes from the environment. */
function isFromEnvironment({ secret, type }: OptionSpec): boolean {
  return secret === true && type === 'string'
}

export interface CommandSources {
  /** Arguments after the command. */
  readonly argv: readonly string[]
  readonly env: Env
  readonly base: string
  /** Columns of the help. */
  readonly width: number
  readonly streams: CommandStreams
}

function load(path: string): Promise<CommandModule> {
  return import(new URL(`${path}${EXTENSION}`, ROOT).href)
}

/** Options of the filter in a config file: at its place in the chain, and at the top level. */
function configured({ name, exports }: LoadedModule, config: Config | undefined): readonly Layer[] {
  const options = config?.filters?.find(ref => ref.name === name)?.options ?? NOTHING
  return [ownOptions({ name, module: exports as FilterModule, options }), config?.values ?? NOTHING]
}
