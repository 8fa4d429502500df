#!/usr/bin/env node
import process from 'node:process'
import { LogLimit, logError } from '../src/chain/report.ts'
import { describe, main } from '../src/cli.ts'
import { isOptionError, messageOf } from '../src/contract/errors.ts'
import type { RunningServer } from '../src/index.ts'

const { argv, env, stdout, stderr } = process
/** Milliseconds that what a server has already written has to reach its reader. */
const LAST_WORDS = 1000

/** What Node does not tell of its streams over a terminal; elsewhere it may not be there. */
interface TerminalStream {
  readonly isTTY?: boolean
  readonly _handle?: { setBlocking?(blocking: boolean): void }
}

// A reader that goes away ends the output, not the server.
stdout.on('error', () => {})
stderr.on('error', () => {})

// To a terminal Node writes synchronously: one that was stopped with Ctrl-S would stop the server. A file stream over it
// would keep the process from ending instead, since an exit waits for the thread that writes.
for (const { isTTY, _handle } of [stdout, stderr] as readonly TerminalStream[]) if (isTTY) _handle?.setBlocking?.(false)

/** Errors outside every chain: lines in a minute of each kind. */
const strays = new LogLimit(10, 60_000)

let stopping = false
let server: RunningServer | undefined
const starting = new AbortController()
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
// A promise or a timer that a filter left behind: its error reaches no chain, and still no filter takes the server down.
process.on('unhandledRejection', error => lament(error, 'a promise was left behind and rejected'))
process.on('uncaughtException', error => lament(error, 'an error was thrown outside every chain'))
// Node would end without a word. A server that listens never comes here.
process.on('beforeExit', () =>
  starting.abort(new Error('its promise never settles: nothing is left that it could wait for')),
)

const { signal } = starting
const result = await main({
  argv: argv.slice(2),
  env,
  base: process.cwd(),
  // Opened only where it is read.
  get stdin() {
    return process.stdin
  },
  stdout,
  stderr,
  signal,
})
if (typeof result === 'number') {
  // A filter's timer must not keep a process alive that has nothing to serve; what was printed is read first.
  stdout.write('', () => stderr.write('', () => process.exit(result)))
} else {
  server = result
  live(server)
  // Asked to stop while it started.
  if (stopping) await end(server)
}

async function stop(): Promise<void> {
  // Asked twice: whoever asks does not want to wait.
  if (stopping) process.exit(1)
  stopping = true
  starting.abort()
  if (server !== undefined) await end(server)
}

async function end(running: RunningServer): Promise<void> {
  let code = 0
  try {
    await running.close()
  } catch (error) {
    logError(running.log, 'fatal', error, 'stopping failed')
    code = 1
  }
  setTimeout(() => process.exit(code), LAST_WORDS)
  stdout.write('', () => stderr.write('', () => process.exit(code)))
}

function live(running: RunningServer): void {
  const { log, reloadable, closed } = running
  // A filter may have asked for it.
  void closed.then(() => (stopping ? undefined : stop()))
  // Without files to read SIGHUP keeps its meaning: the terminal has been closed, and nohup may have it ignored.
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

/** Until there is a server there is no log. */
function lament(error: unknown, what: string): void {
  const { isOver, suppressed } = strays.take(what)
  if (isOver) return
  if (server === undefined) stderr.write(`fws-server: ${what}: ${describe(error)}\n`)
  else logError(server.log, 'fatal', error, what, suppressed > 0 ? { suppressed } : {})
}
