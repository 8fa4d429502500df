#!/usr/bin/env node
import process from 'node:process'
import { main } from '../src/cli.ts'
import { messageOf } from '../src/errors.ts'

const { argv, env, stdout, stderr } = process
// A reader that goes away ends the output, not the server.
stdout.on('error', () => {})
stderr.on('error', () => {})

let stopping = false
const result = await main({ argv: argv.slice(2), env, base: process.cwd(), stdout, stderr })
if (typeof result === 'number') {
  process.exitCode = result
} else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, async () => {
      // Asked twice: whoever asks does not want to wait.
      if (stopping) process.exit(1)
      stopping = true
      try {
        await result.close()
        process.exit(0)
      } catch (error) {
        stderr.write(`fws-server: ${messageOf(error)}\n`)
        process.exit(1)
      }
    })
  }
  process.on('SIGHUP', () => {
    try {
      result.reload()
    } catch (error) {
      stderr.write(`fws-server: the old certificate stays: ${messageOf(error)}\n`)
    }
  })
}
