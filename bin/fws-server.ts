#!/usr/bin/env node
import process from 'node:process'
import { main } from '../src/cli.ts'
import type { RunningServer } from '../src/index.ts'

const { argv, env, stdout, stderr } = process
/** Milliseconds that what is already written to standard output has to reach its reader. */
const LAST_WORDS = 1000

// A reader that goes away ends the output, not the server.
stdout.on('error', () => {})
stderr.on('error', () => {})

const result = await main({ argv: argv.slice(2), env, base: process.cwd(), stdout, stderr })
if (typeof result === 'number') process.exitCode = result
else live(result)

function live(server: RunningServer): void {
  const { log } = server
  let stopping = false
  const stop = async () => {
    // Asked twice: whoever asks does not want to wait.
    if (stopping) process.exit(1)
    stopping = true
    const code = await server.close().then(
      () => 0,
      error => {
        log.fatal({ err: error }, 'stopping failed')
        return 1
      },
    )
    setTimeout(() => process.exit(code), LAST_WORDS).unref()
    stdout.write('', () => process.exit(code))
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.on('SIGHUP', () => {
    try {
      server.reload()
    } catch (error) {
      log.error({ err: error }, 'the old certificate stays')
    }
  })
  // A promise or a timer that a filter left behind: its error reaches no chain, and still no filter takes the server down.
  process.on('unhandledRejection', error => log.fatal({ err: error }, 'a promise was left behind and rejected'))
  process.on('uncaughtException', error => log.fatal({ err: error }, 'an error was thrown outside every chain'))
}
