// Starts servers and the load in their own processes, on their own cores if `taskset` exists.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Job, Measured, Opened } from './load.ts'

export { processorTime } from './processor-time.ts'

export const SERVER_CORE = 0
export const LOAD_CORE = 1
/** Milliseconds until a server listens, or prints its memory. */
const DEADLINE = 60_000

const hasTaskset = spawnSync('taskset', ['-c', String(LOAD_CORE), 'true']).status === 0

/** Pins all threads of a process to a core. */
export function pin(pid: number, core: number): void {
  if (hasTaskset) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)])
}

export interface Served {
  readonly url: string
  readonly pid: number
  /** The memory after a garbage collection, of a server with the preloaded servers/collect.mjs. */
  memory(): Promise<Memory>
}

/** Bytes, as the server reports them. */
export interface Memory {
  readonly heapUsed: number
  readonly rss: number
}

/** Starts a server, which prints its URL with `scheme` to standard error, and kills it after `work`. */
export async function withServer<T>(
  command: readonly string[],
  work: (server: Served) => Promise<T>,
  scheme: 'ws' | 'tcp' = 'ws',
): Promise<T> {
  const [program, ...args] = hasTaskset ? ['taskset', '-c', String(SERVER_CORE), ...command] : command
  const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    const url = await printed(child, new RegExp(`\\b(${scheme}://127\\.0\\.0\\.1:\\d+)`))
    const memory = async () => {
      child.kill('SIGUSR2')
      return JSON.parse(await printed(child, /^memory (\{.*\})$/m)) as Memory
    }
    return await work({ url, pid: child.pid!, memory })
  } finally {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit')
  }
}

/** The first group of a pattern in what a server prints to standard error. */
function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = ''
  return new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => end(new Error(`the server printed no ${pattern} within ${DEADLINE} ms: ${text}`)),
      DEADLINE,
    )
    const exited = (code: number | null) => end(new Error(`the server exited with ${code}: ${text}`))
    const read = (chunk: string) => {
      text += chunk
      const found = pattern.exec(text)?.[1]
      if (found !== undefined) end(found)
    }
    const end = (result: string | Error) => {
      clearTimeout(timer)
      child.off('error', end).off('exit', exited).stderr!.off('data', read)
      // Nothing that is printed later stays in memory.
      child.stderr!.resume()
      if (typeof result === 'string') resolve(result)
      else reject(result)
    }
    child.once('error', end).once('exit', exited).stderr!.setEncoding('utf8').on('data', read)
  })
}

/** Process ids of the children of a process; empty without /proc. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export interface Load {
  readonly opened: Opened
  /** One per pace. */
  results(): Promise<readonly Measured[]>
}

/** Runs `work` when all clients of the job are open, and closes them after it. */
export async function withLoad<T>(job: Job, work: (load: Load) => Promise<T>): Promise<T> {
  const child = start('load.ts', [JSON.stringify(job)], LOAD_CORE)
  try {
    const [opened, results] = [messageOf<Opened>(child), messageOf<readonly Measured[]>(child, 2)]
    results.catch(() => {})
    return await work({ opened: await opened, results: () => results })
  } finally {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit')
  }
}

/** Runs a job, and returns the measurement of each pace. */
export function load(job: Job): Promise<readonly Measured[]> {
  return withLoad(job, ({ results }) => results())
}

/** Runs a script on a core, and returns its message. Default: the core of the servers. */
export async function runScript<T>(script: string, args: readonly string[] = [], core = SERVER_CORE): Promise<T> {
  const child = start(script, args, core)
  return messageOf<T>(child)
}

function start(script: string, args: readonly string[], core: number): ChildProcess {
  const child = fork(join(import.meta.dirname, script), args, {
    execArgv: ['--import', import.meta.resolve('tsx')],
    // Unlike JSON, it keeps NaN.
    serialization: 'advanced',
  })
  pin(child.pid!, core)
  return child
}

/** The message number `nth` of a process. */
function messageOf<T>(child: ChildProcess, nth = 1): Promise<T> {
  return new Promise((resolve, reject) => {
    let count = 0
    child.on('message', message => {
      if (++count === nth) resolve(message as T)
    })
    child.once('exit', code => reject(new Error(`the process exited with ${code}`)))
  })
}
