// Starts servers and the load as processes of their own, on cores of their own where `taskset` exists.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Job, Measured, Opened } from './load.ts'

const SERVER_CORE = 0
export const LOAD_CORE = 1
/** Milliseconds for a server to come to listen. */
const STARTUP = 20_000

const hasTaskset = spawnSync('taskset', ['-c', String(LOAD_CORE), 'true']).status === 0

/** Keeps all threads of a process on one core. */
export function pin(pid: number, core: number): void {
  if (hasTaskset) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)])
}

export interface Served {
  readonly url: string
  readonly pid: number
}

/** Runs `work` against a server that lives for it alone, and tells its address of this scheme on standard error. */
export async function withServer<T>(
  command: readonly string[],
  work: (server: Served) => Promise<T>,
  scheme: 'ws' | 'tcp' = 'ws',
): Promise<T> {
  const [program, ...args] = hasTaskset ? ['taskset', '-c', String(SERVER_CORE), ...command] : command
  const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    return await work({ url: await address(child, scheme), pid: child.pid! })
  } finally {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit')
  }
}

async function address(child: ChildProcess, scheme: string): Promise<string> {
  const pattern = new RegExp(`\\b${scheme}://127\\.0\\.0\\.1:\\d+`)
  let text = ''
  const heard = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no server within ${STARTUP} ms: ${text}`)), STARTUP)
    child.once('error', reject).once('exit', code => reject(new Error(`the server ended with ${code}: ${text}`)))
    child.stderr!.setEncoding('utf8').on('data', chunk => {
      if (text.length < 10_000) text += chunk
      const url = pattern.exec(text)?.[0]
      if (url === undefined) return
      clearTimeout(timer)
      resolve(url)
    })
  })
  return heard
}

export interface Load {
  readonly opened: Opened
  /** One for each pace. */
  results(): Promise<readonly Measured[]>
}

/** Runs `work` once all clients of the job are open; they are gone after it. */
export async function withLoad<T>(job: Job, work: (load: Load) => Promise<T>): Promise<T> {
  const child = start('load.ts', [JSON.stringify(job)], LOAD_CORE)
  try {
    const [opened, results] = [answer<Opened>(child), answer<readonly Measured[]>(child, 2)]
    results.catch(() => {})
    return await work({ opened: await opened, results: () => results })
  } finally {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit')
  }
}

/** Runs the whole job; answers what was measured at each pace. */
export function load(job: Job): Promise<readonly Measured[]> {
  return withLoad(job, ({ results }) => results())
}

/** Runs a script on a core, by default that of the servers; answers the one message that it sends. */
export async function runScript<T>(script: string, args: readonly string[] = [], core = SERVER_CORE): Promise<T> {
  const child = start(script, args, core)
  return answer<T>(child)
}

function start(script: string, args: readonly string[], core: number): ChildProcess {
  const child = fork(join(import.meta.dirname, script), args, {
    execArgv: ['--import', import.meta.resolve('tsx')],
    // NaN survives.
    serialization: 'advanced',
  })
  pin(child.pid!, core)
  return child
}

/** The message that comes as number `nth`. */
function answer<T>(child: ChildProcess, nth = 1): Promise<T> {
  return new Promise((resolve, reject) => {
    let heard = 0
    child.on('message', message => {
      if (++heard === nth) resolve(message as T)
    })
    child.once('exit', code => reject(new Error(`the load ended with ${code}`)))
  })
}

/** Microseconds that a process has had of the processor, all threads together. */
export function processorTime(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ').slice(11, 13)
  // In ticks, which are 10 ms on every Linux that Node runs on.
  return (Number(user) + Number(system)) * 10_000
}

/** Bytes of resident memory after a garbage collection; NaN where there is no /proc. */
export async function residentMemory(pid: number): Promise<number> {
  if (process.platform !== 'linux') return Number.NaN
  for (let i = 0; i < 2; i++) {
    process.kill(pid, 'SIGUSR2')
    await new Promise(resolve => setTimeout(resolve, 500))
  }
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) * 1024
}
