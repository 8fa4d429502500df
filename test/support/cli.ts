import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Readable, Writable } from 'node:stream'
import { main } from '../../src/cli.ts'
import { Peer, until } from './peer.ts'
import { root } from './root.ts'

export { root } from './root.ts'

/** Arguments of Node for the built command, and for its source. */
export const built = [join(root, 'dist/bin/fws-server.js')]
export const source = ['--import', import.meta.resolve('tsx'), join(root, 'bin/fws-server.ts')]

/** The part of a `TestContext` that most helpers need. */
export interface Test {
  after(fn: () => void | Promise<void>): void
}

export interface Where {
  /** Default: the repository. */
  cwd?: string
  /** Environment variables in addition to PATH and HOME. */
  env?: Readonly<Record<string, string>>
  /** Arguments of Node. Default: the built command. */
  command?: readonly string[]
}

/** The exit code and output of a process. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Creates a folder with these files outside of any package; it is removed after the test. */
export function folder(t: Test, files: Readonly<Record<string, string>> = {}): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'fws-')))
  t.after(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text)
  }
  return path
}

/** Runs the command until it exits. */
export async function run(argv: readonly string[], where: Where = {}): Promise<Ended> {
  const command = new Command(argv, where)
  try {
    return await command.ended()
  } finally {
    command.child.kill('SIGKILL')
  }
}

/** Runs code in its own process, as a module in the root of the repository. */
export function runModule(code: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return run(['-e', code], { command: ['--import', import.meta.resolve('tsx'), '--input-type=module'], env })
}

/** The one-sentence error of a refused start: exit 2, no standard output, no stack. */
export async function refusal(argv: readonly string[], where: Where = {}): Promise<string> {
  return sentenceOf(await run(argv, where))
}

function sentenceOf({ code, stdout, stderr }: { code: unknown; stdout: string; stderr: string }): string {
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' }, stderr)
  assert.match(stderr, /^fws-server: .*\n$/s)
  assert.doesNotMatch(stderr, /\n {4}at /)
  return stderr.slice('fws-server: '.length, -1)
}

/** Runs the command in this process, which is faster. */
export async function inside(
  argv: readonly string[],
  base: string,
  env: Readonly<Record<string, string>> = {},
  isTTY = false,
  stdin?: Readable,
): Promise<{ code: number | 'a server'; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new Collected(), Object.assign(new Collected(), { isTTY })]
  const result = await main({ argv, env, base, stdout, stderr, ...(stdin && { stdin }) })
  const code = typeof result === 'number' ? result : 'a server'
  if (typeof result !== 'number') await result.close()
  return { code, stdout: stdout.text, stderr: stderr.text }
}

/** Like `refusal`, in this process. */
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

/** Starts a server and waits until it listens; it is killed after the test. */
export async function launch(t: Test, argv: readonly string[], where: Where & Wiring = {}): Promise<Launched> {
  const server = new Launched(argv, where)
  t.after(async () => {
    await server.kill()
  })
  await until(
    () => server.listening() || server.child.exitCode !== null,
    `a server, got ${JSON.stringify(server.stderr)}`,
    60_000,
  )
  assert.ok(server.listening(), server.stderr)
  return server
}

interface Wiring {
  /** The pipe of another process for standard output, or `unread` until the test reads it. Default: collected in `stdout`. */
  stdout?: Writable | 'unread'
}

class Command {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly #closed: Promise<unknown>

  constructor(argv: readonly string[], { cwd = root, env = {}, command = built, stdout }: Where & Wiring) {
    const { PATH = '', HOME = '' } = process.env
    this.child = spawn(process.execPath, [...command, ...argv], {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ['ignore', stdout === undefined || stdout === 'unread' ? 'pipe' : stdout, 'pipe'],
    })
    // Its `close` would wait for a reader of its standard output.
    this.#closed =
      stdout === 'unread'
        ? Promise.all([once(this.child, 'exit'), once(this.child.stderr!, 'close')])
        : once(this.child, 'close')
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
      `an exit, got ${this.stdout}${this.stderr}`,
      180_000,
    )
    await this.#closed
    return { code: child.exitCode, signal: child.signalCode, stdout: this.stdout, stderr: this.stderr }
  }
}

/** A server in its own process. */
export class Launched extends Command {
  /** The parsed lines of its log so far. */
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

  get url(): string {
    return this.logged().find(({ msg }) => String(msg).startsWith('listening on '))!.url as string
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Connects a client. */
  connect(): Promise<Peer> {
    return Peer.open(this.url)
  }

  /** Stops the process with SIGSTOP: the system still accepts connections, but nothing is answered. */
  pause(): void {
    this.child.kill('SIGSTOP')
  }

  resume(): void {
    this.child.kill('SIGCONT')
  }

  /** Sends a signal, and waits for the exit. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal)
    return this.ended()
  }

  /** Kills it without closing its connections; also when it is paused or already killed. */
  kill(): Promise<Ended> {
    return this.stop('SIGKILL')
  }
}

/** Value and source of each option in the output of `--explain`. */
export function explained(stdout: string): ReadonlyMap<string, readonly [value: string, source: string]> {
  const options = stdout.slice(stdout.indexOf('\noptions of core\n'))
  const lines = options.matchAll(/^ {2}(\S+) +(.*?) +(default|flag|env \S+|filter \S+|\S+\.json)$/gm)
  return new Map([...lines].map(([, name, value, source]) => [name!, [value!, source!]]))
}
