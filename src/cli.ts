import type { Readable, Writable } from 'node:stream'
import { helpText, readArgv } from './config/argv.ts'
import type { commandOptions } from './config/options.ts'
import { FwsError, isUsageError, messageOf } from './contract/errors.ts'
import { assemble } from './lifecycle/assembly.ts'
import { describeCommands, type ExitCode, isCommand, runCommand } from './lifecycle/command.ts'
import { explain } from './lifecycle/explain.ts'
import { addStops } from './lifecycle/filter-setup.ts'
import { createLogger } from './lifecycle/log.ts'
import { claimsForHelp, coreClaims, makePlan } from './lifecycle/plan.ts'
import { createLoader, loggingOf, type RunningServer, startServer } from './lifecycle/server.ts'
import { Undo } from './lifecycle/undo.ts'
import { builtinNames, FILTER } from './modules/loader.ts'
import { ownVersion } from './root.ts'

/** The process, as far as the command line needs it. */
export interface Terminal {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** The working directory. */
  readonly base: string
  /** Read by commands, and by the filter that asks for it. */
  readonly stdin?: Readable
  /** Whether a shell has connected standard input to another program. */
  readonly isPiped?: boolean
  readonly stdout: Writable & { readonly columns?: number }
  readonly stderr: Writable & { readonly isTTY?: boolean }
  /** Aborts a start that hangs: without a reason when the process is asked to stop, else with an Error. */
  readonly signal?: AbortSignal
}

/** Runs the command line. Returns the running server, or the exit code when there is none. */
export async function main(terminal: Terminal): Promise<RunningServer | ExitCode> {
  try {
    return await run(terminal)
  } catch (error) {
    const { stderr, signal } = terminal
    const aborted = signal?.aborted === true && stemsFrom(error, signal.reason)
    const asked = aborted && signal.reason.name === 'AbortError'
    stderr.write(`fws-server: ${asked ? 'stopped while it started' : describe(error)}\n`)
    if (aborted) return asked ? 0 : 1
    return isUsageError(error) ? 2 : 1
  }
}

async function run(terminal: Terminal): Promise<RunningServer | ExitCode> {
  const { argv, env, base, stdout, stderr, signal } = terminal
  const width = Math.min(stdout.columns ?? 100, 120)
  const [word] = argv
  if (word !== undefined && isCommand(word)) {
    const streams = {
      stdout,
      stderr,
      signal,
      // Opened only when it is read.
      get stdin() {
        return terminal.stdin
      },
    }
    return runCommand(word, { argv: argv.slice(1), env, base, width, streams }, createLoader(signal))
  }
  const asked = askedFor(argv, base)
  if (asked.version) {
    stdout.write(`${ownVersion()}\n`)
    return 0
  }
  const sources = { argv, env, base }
  if (asked.help) {
    const loader = createLoader(signal)
    const { claims, problems } = await claimsForHelp(sources, loader)
    const described = builtinNames(FILTER).map(async name => {
      const { exports } = await loader.load(FILTER, name, base)
      return { name, description: String(exports.describe ?? '') }
    })
    stdout.write(`${await helpText(claims, await describeCommands(), await Promise.all(described), width)}\n`)
    for (const problem of problems) stderr.write(`fws-server: options are missing above: ${problem}\n`)
    return 0
  }
  const plan = await makePlan(sources, createLoader(signal))
  const log = await createLogger(loggingOf(plan), stderr, !env.NO_COLOR && env.TERM !== 'dumb')
  let isRead = false
  const streams = {
    log,
    stdout,
    get stdin() {
      isRead = true
      return terminal.stdin
    },
  }
  if (!asked.explain) {
    const server = await startServer(plan, streams, signal)
    if (terminal.isPiped && !isRead)
      log.warn('standard input is a pipe that no filter reads; with -f stdin each line is a message')
    return server
  }
  for (const warning of plan.warnings) log.warn(warning)
  const assembly = await assemble(plan, streams, signal)
  stdout.write(explain(plan, assembly, base))
  const undo = new Undo(log, assembly.options.drain * 1000)
  undo.add('closing the storage', () => assembly.close())
  addStops(assembly, undo)
  await undo.run()
  return 0
}

/** The flags that select the mode; other flags may be wrong. */
function askedFor(argv: readonly string[], base: string): Record<keyof typeof commandOptions, boolean> {
  const { layer } = readArgv(argv, coreClaims(), base)
  const isOn = (name: string) => layer.get(name)?.value === true
  return { help: isOn('help'), version: isOn('version'), explain: isOn('explain') }
}

function stemsFrom(error: unknown, reason: unknown): boolean {
  return error === reason || (error instanceof Error && error.cause !== undefined && stemsFrom(error.cause, reason))
}

/** One line; for an unexpected error the stack too. */
export function describe(error: unknown): string {
  try {
    if (error instanceof Error && !(error instanceof FwsError)) return String(error.stack ?? error.message)
  } catch {
    // The stack cannot be read; the message is used.
  }
  return messageOf(error)
}
