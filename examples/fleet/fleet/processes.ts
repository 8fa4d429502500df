import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Logger } from 'filtered-websocket'

const COPTER = join(import.meta.dirname, '../copter.ts')
/** Runs TypeScript on all versions of Node. */
const JITI = join(dirname(createRequire(import.meta.url).resolve('jiti/package.json')), 'lib/jiti-cli.mjs')
/** Milliseconds until an ended process is started again. */
const RESTART = 3000
/** Milliseconds for a process to end. */
const STOP_TIMEOUT = 2000

/** Simulated copters, each a process with a folder. */
export class Processes {
  readonly #children = new Map<string, ChildProcess>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #station: string
  readonly #log: Logger
  #folder = ''
  #isStopped = false

  /** @param station - URL of the station. */
  constructor(station: string, log: Logger) {
    this.#station = station
    this.#log = log
  }

  async start(count: number): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'fws-fleet-'))
    for (let number = 1; number <= count; number++) this.#launch(`copter${number}`)
  }

  /** Kills a process, which is started again. @throws Error `none`: no such process runs. */
  kill(id: string): void {
    const child = this.#children.get(id)
    if (child === undefined) throw Object.assign(new Error(`the server runs no process of ${id}`), { code: 'none' })
    child.kill('SIGKILL')
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    for (const timer of this.#timers) clearTimeout(timer)
    await Promise.all([...this.#children.values()].map(end))
    if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true })
  }

  #launch(id: string): void {
    const args = [JITI, COPTER, '--id', id, '--station', this.#station, '--folder', join(this.#folder, id)]
    // A copter ends with its IPC channel, also if the server is killed.
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    child.on('error', err => this.#log.error({ err, id }, 'a copter cannot be started'))
    child.once('exit', (code, signal) => {
      this.#children.delete(id)
      if (this.#isStopped) return
      this.#log.warn({ id, code, signal }, 'a copter ended, and will be started again')
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.#launch(id)
      }, RESTART)
      this.#timers.add(timer)
    })
    this.#children.set(id, child)
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
  const exited = once(child, 'exit')
  child.kill()
  await exited
  clearTimeout(timer)
}
