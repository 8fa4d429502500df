#!/usr/bin/env node
import { createWriteStream, fstatSync, type Stats } from 'node:fs'
import process from 'node:process'
import { logError } from '../src/chain/report.ts'
import { describe, main } from '../src/cli.ts'
import { isOptionError, messageOf } from '../src/contract/errors.ts'
import type { RunningServer } from '../src/index.ts'
import { LogLimit } from '../src/kit/rate-limited-log.ts'

const { argv, env, stderr } = process
// To a file Node writes synchronously, and takes a part that fits on a full disk for the whole.
const stdout = statOf(1)?.isFile() ? createWriteStream('', { fd: 1, autoClose: false }) : process.stdout
/** Milliseconds for written output to reach its reader. */
const LAST_WORDS = 1000

/** Internal handle of Node's terminal streams; absent elsewhere. */
interface TerminalStream {
  readonly isTTY?: boolean
  readonly _handle?: { setBlocking?(blocking: boolean): void }
}

// A reader that is gone ends the output, not the server.
stdout.on('error', () => {})
stderr.on('error', () => {})

// To a terminal Node writes synchronously: one that was stopped with Ctrl-S would stop the server. A file stream over it
// would keep the process from ending instead, since an exit waits for the thread that writes.
for (const { isTTY, _handle } of [stdout, stderr] as readonly TerminalStream[]) if (isTTY) _handle?.setBlocking?.(false)

/** Log lines per minute and kind for errors outside of all chains. */
const strays = new LogLimit(10, 60_000)

let stopping = false
let server: RunningServer | undefined
const starting = new AbortController()
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
// An error in a promise or timer that a filter left running reaches no chain; it must not end the server either.
process.on('unhandledRejection', error => lament(error, 'a promise was left behind and rejected'))
process.on('uncaughtException', error => lament(error, 'an error was thrown outside every chain'))
// Node would exit without a message. A listening server never gets here.
process.on('beforeExit', () =>
  starting.abort(new Error('its promise never settles: nothing is left that it could wait for')),
)

const { signal } = starting
const result = await main({
  argv: argv.slice(2),
  env,
  base: process.cwd(),
  // Opened only when it is read.
  get stdin() {
    return process.stdin
  },
  isPiped: statOf(0)?.isFIFO() ?? false,
  stdout,
  stderr,
  signal,
})
if (typeof result === 'number') {
  if (stopping) setTimeout(() => process.exit(result), LAST_WORDS)
  // A filter's timer must not keep the process alive; written output reaches its reader first.
  stdout.write('', () => stderr.write('', () => process.exit(result)))
} else {
  server = result
  live(server)
  // The stop was requested during the start.
  if (stopping) await end(server)
}

function statOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor)
  } catch {
    // It is closed.
    return undefined
  }
}

async function stop(): Promise<void> {
  // A second request ends the process at once.
  if (stopping) process.exit(1)
  stopping = true
  starting.abort()
  if (server !== undefined) await end(server)
}

async function end(running: RunningServer): Promise<void> {
  let code = 0
  try {
    await running.close()
    if (running.failure !== undefined) code = 1
  } catch (error) {
    logError(running.log, 'fatal', error, 'stopping failed')
    code = 1
  }
  setTimeout(() => process.exit(code), LAST_WORDS)
  stdout.write('', () => stderr.write('', () => process.exit(code)))
}

function live(running: RunningServer): void {
  const { log, reloadable, closed } = running
  // A filter may have stopped the server.
  void closed.then(() => (stopping ? undefined : stop()))
  // Without files to read SIGHUP keeps its default: the terminal was closed, and nohup may ignore it.
  if (reloadable) {
    process.on('SIGHUP', () => {
      try {
        running.reload()
      } catch (error) {
        if (isOptionError(error)) log.error(`reload refused, the old TLS files stay in use: ${messageOf(error)}`)
        else logError(log, 'error', error, 'reload failed, the old TLS files stay in use')
      }
    })
  }
}

/** Before the server exists there is no log. */
function lament(error: unknown, what: string): void {
  const { isOver, suppressed } = strays.take(what)
  if (isOver) return
  if (server === undefined) stderr.write(`fws-server: ${what}: ${describe(error)}\n`)
  else logError(server.log, 'fatal', error, what, suppressed > 0 ? { suppressed } : {})
}
