import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { main } from '../../src/cli.ts'
import { Peer, until } from './peer.ts'
import { root } from './root.ts'

export { root } from './root.ts'

/** The command as it is shipped, and as it stands in the source. */
export const shipped = [join(root, 'dist/bin/fws-server.js')]
export const source = ['--import', import.meta.resolve('tsx'), join(root, 'bin/fws-server.ts')]

interface Test {
  after(fn: () => void | Promise<void>): void
}

export interface Where {
  /** Default: the repository. */
  cwd?: string
  /** All that the process gets beside PATH and HOME. */
  env?: Readonly<Record<string, string>>
  /** Arguments of node; default: the command as it is shipped. */
  command?: readonly string[]
}

/** What is left of a process. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder of these files, gone after the test; no package.json and no node_modules above it. */
export function folder(t: Test, files: Readonly<Record<string, string>> = {}): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'fws-')))
  t.after(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

/** Runs the command to its end, which must come by itself. */
export async function run(argv: readonly string[], where: Where = {}): Promise<Ended> {
  const command = new Command(argv, where)
  try {
    return await command.ended()
  } finally {
    command.child.kill('SIGKILL')
  }
}

/** The sentence with which the command refuses: exit 2, nothing on standard output, no stack. */
export async function refusal(argv: readonly string[], where: Where = {}): Promise<string> {
  return sentenceOf(await run(argv, where))
}

function sentenceOf({ code, stdout, stderr }: { code: unknown; stdout: string; stderr: string }): string {
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' }, stderr)
  assert.match(stderr, /^fws-server: .*\n$/s)
  assert.doesNotMatch(stderr, /\n {4}at /)
  return stderr.slice('fws-server: '.length, -1)
}

/** Does the same inside this process, from the source: quick, for what does not depend on the process. */
export async function inside(
  argv: readonly string[],
  base: string,
): Promise<{ code: number | 'a server'; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new Collected(), new Collected()]
  const result = await main({ argv, env: {}, base, stdout, stderr })
  const code = typeof result === 'number' ? result : 'a server'
  if (typeof result !== 'number') await result.close()
  return { code, stdout: stdout.text, stderr: stderr.text }
}

/** The sentence with which it refuses inside this process. */
export async function refusalInside(argv: readonly string[], base: string): Promise<string> {
  return sentenceOf(await inside(argv, base))
}

class Collected extends Writable {
  text = ''
  override _write(chunk: unknown, _: unknown, done: () => void): void {
    this.text += chunk
    done()
  }
}

/** Starts a server, which must come to listen; ended after the test. */
export async function launch(t: Test, argv: readonly string[], where: Where & Wiring = {}): Promise<Launched> {
  const server = new Launched(argv, where)
  t.after(async () => {
    await server.kill()
  })
  await until(
    () => server.listening() || server.child.exitCode !== null,
    `a server, got ${JSON.stringify(server.stderr)}`,
  )
  assert.ok(server.listening(), server.stderr)
  return server
}

interface Wiring {
  /** Another process's end of a pipe for standard output; or nobody reads it until the test does. Default: kept in `stdout`. */
  stdout?: Writable | 'unread'
}

class Command {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly #closed: Promise<unknown>

  constructor(argv: readonly string[], { cwd = root, env = {}, command = shipped, stdout }: Where & Wiring) {
    const { PATH = '', HOME = '' } = process.env
    this.child = spawn(process.execPath, [...command, ...argv], {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ['ignore', stdout === undefined || stdout === 'unread' ? 'pipe' : stdout, 'pipe'],
    })
    this.#closed = once(this.child, stdout === undefined ? 'close' : 'exit')
    if (stdout === undefined) this.readStdout()
    this.child.stderr!.setEncoding('utf8').on('data', text => {
      this.stderr += text
    })
  }

  readStdout(): void {
    this.child.stdout!.setEncoding('utf8').on('data', text => {
      this.stdout += text
    })
  }

  async ended(): Promise<Ended> {
    const { child } = this
    await until(
      () => child.exitCode !== null || child.signalCode !== null,
      `an end, got ${this.stdout}${this.stderr}`,
      60_000,
    )
    await this.#closed
    return { code: child.exitCode, signal: child.signalCode, stdout: this.stdout, stderr: this.stderr }
  }
}

/** A server in a process of its own. */
export class Launched extends Command {
  /** The lines of its log so far, parsed. */
  logged(): readonly Record<string, unknown>[] {
    return this.stderr
      .split('\n')
      .slice(0, -1)
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line))
  }

  listening(): boolean {
    return this.logged().some(({ msg }) => /^listening on wss?[:+]/.test(String(msg)))
  }

  /** As its ready line tells. */
  get url(): string {
    return this.logged().find(({ msg }) => String(msg).startsWith('listening on '))!.url as string
  }

  get pid(): number {
    return this.child.pid!
  }

  /** A client of it; its connection ends with the server. */
  connect(): Promise<Peer> {
    return Peer.open(this.url)
  }

  /** Stops the process: connections stay, the system still accepts new ones, nothing is answered. */
  pause(): void {
    this.child.kill('SIGSTOP')
  }

  resume(): void {
    this.child.kill('SIGCONT')
  }

  /** Asks it to stop, and waits until it has. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal)
    return this.ended()
  }

  /** Ends it as a crash would: nothing is said to anybody. Also paused, and twice. */
  kill(): Promise<Ended> {
    return this.stop('SIGKILL')
  }
}

/** Options as `--explain` prints them: value and source by name. */
export function explained(stdout: string): ReadonlyMap<string, readonly [value: string, source: string]> {
  const options = stdout.slice(stdout.indexOf('\noptions of core\n'))
  const lines = options.matchAll(/^ {2}(\S+) +(.*?) +(default|flag|env \S+|filter \S+|\S+\.json)$/gm)
  return new Map([...lines].map(([, name, value, source]) => [name!, [value!, source!]]))
}
