// Starts servers and loads as processes of their own, on cores of their own where `taskset` exists.
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const hasTaskset = spawnSync('taskset', ['-c', '0', 'true']).status === 0

function start(script: string, args: readonly string[], core: number, execArgv: readonly string[] = []): ChildProcess {
  const child = fork(join(import.meta.dirname, script), args, { execArgv: ['--import', 'tsx', ...execArgv] })
  pin(child.pid!, core)
  return child
}

/** Keeps all threads of a process on one core. */
export function pin(pid: number, core: number): void {
  if (hasTaskset) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)])
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const [message] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`exited with ${code}`))),
  ])
  return message as T
}

/** Runs `work` against a server that lives for it alone. */
export async function withServer<T>(
  name: string,
  filter: string,
  work: (port: number, server: ChildProcess) => Promise<T>,
): Promise<T> {
  const server = start('servers.ts', [name, filter], 0, ['--expose-gc'])
  try {
    const { port } = await answer<{ port: number }>(server)
    return await work(port, server)
  } finally {
    server.kill('SIGKILL')
  }
}

/** Puts load on a port; answers what it measured. */
export function load<T>(port: number, options: LoadOptions, whileOpen?: () => Promise<void>): Promise<T> {
  return runLoad('load.ts', { port, ...options }, whileOpen)
}

type LoadOptions = Readonly<Record<string, string | number>>

/** Runs a script that puts load on servers; answers what it measured. */
export async function runLoad<T>(script: string, options: LoadOptions, whileOpen?: () => Promise<void>): Promise<T> {
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const child = start(script, args, 1)
  try {
    const result = await answer<T>(child)
    await whileOpen?.()
    return result
  } finally {
    child.kill('SIGKILL')
  }
}

/** The server's resident memory, in bytes, after a garbage collection. */
export async function memoryOf(server: ChildProcess): Promise<number> {
  server.send('memory')
  return (await answer<{ rss: number }>(server)).rss
}

export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}
