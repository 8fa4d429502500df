import { PassThrough, Writable } from 'node:stream'
import { main } from '../../src/cli.ts'
import type { Test } from './cli.ts'
import { until } from './peer.ts'
import { root } from './root.ts'

/** Standard output of a command: collects, and can stall, break, or be a terminal. */
export class Output extends Writable {
  text = ''
  isTTY = false
  #accept: (() => void) | undefined
  #isStalled = false

  override _write(chunk: unknown, _encoding: string, accepted: () => void): void {
    this.text += chunk
    if (this.#isStalled) this.#accept = accepted
    else accepted()
  }

  /** Stops accepting after the next chunk. */
  stall(): void {
    this.#isStalled = true
  }

  accept(): void {
    this.#isStalled = false
    this.#accept?.()
  }

  /** The reader goes away, or another code: the system refuses what is written. */
  break(code = 'EPIPE'): void {
    this.destroy(Object.assign(new Error(`write ${code}`), { code }))
  }

  /** Waits for the first `count` lines. */
  async lines(count: number): Promise<readonly string[]> {
    const all = () => this.text.split('\n').slice(0, -1)
    await until(() => all().length >= count, `${count} lines, got ${JSON.stringify(this.text)}`)
    return all().slice(0, count)
  }
}

/** A running command. */
export interface RunningCommand {
  readonly stdin: PassThrough
  readonly stdout: Output
  readonly stderr: Output
  /** SIGINT. */
  stop(): void
  /** Its exit code and the lines of standard error, with times as `N s`. */
  ended(): Promise<{ code: unknown; stderr: readonly string[] }>
}

/** Runs a command in this process; it is stopped after the test. */
export function startCommand(
  t: Test,
  argv: readonly string[],
  { env = {}, isTTY = false }: { env?: Readonly<Record<string, string>>; isTTY?: boolean } = {},
): RunningCommand {
  const [stdin, stdout, stderr] = [new PassThrough(), new Output(), new Output()]
  stdout.isTTY = isTTY
  stdout.on('error', () => {})
  const stopping = new AbortController()
  const { signal } = stopping
  let code: unknown
  const result = main({ argv, env, base: root, stdin, stdout, stderr, signal }).then(value => {
    code = value
  })
  t.after(() => {
    stdin.end()
    stopping.abort()
    return result
  })
  return {
    stdin,
    stdout,
    stderr,
    stop: () => stopping.abort(),
    async ended() {
      await until(() => code !== undefined, `an exit, got ${stderr.text}`)
      const lines = stderr.text.split('\n').slice(0, -1)
      return { code, stderr: lines.map(line => line.replace('fws-server: ', '').replace(/[\d.]+ s$/, 'N s')) }
    },
  }
}

/** Runs a command with this standard input to its end. */
export async function runCommand(
  t: Test,
  argv: readonly string[],
  input: string | Buffer = '',
  options: Parameters<typeof startCommand>[2] = {},
): Promise<{ code: unknown; stdout: string; stderr: readonly string[] }> {
  const command = startCommand(t, argv, options)
  command.stdin.end(input)
  return { ...(await command.ended()), stdout: command.stdout.text }
}
