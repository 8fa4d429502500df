import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { onPath } from './debian.ts'
import { until } from './peer.ts'
import { root } from './root.ts'

const SCRIPT = join(root, 'test/peers/messaging_peer.py')

/** Python 3 for the independent peer; `undefined` if there is none. */
export const python = onPath('python3', process.env)
/** Skips tests that need it, with the reason. */
export const needsPython = python === undefined ? { skip: 'no python3 on the PATH' } : {}

/** A messaging client in Python, in its own process. */
export class PythonPeer {
  readonly heard: Record<string, unknown>[] = []
  readonly #child: ChildProcess
  #stderr = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr!.setEncoding('utf8').on('data', text => {
      this.#stderr += text
    })
    createInterface({ input: child.stdout! }).on('line', line => this.heard.push(JSON.parse(line)))
  }

  /** @param args - after the port: its id, and the authority for the certificate of the server. */
  static open(t: TestContext, port: number, ...args: string[]): Promise<PythonPeer> {
    return PythonPeer.openIn(t, process.cwd(), port, ...args)
  }

  /** Like `open`, with the folder of its files. */
  static async openIn(t: TestContext, cwd: string, port: number, ...args: string[]): Promise<PythonPeer> {
    const child = spawn(python!, [SCRIPT, `${port}`, ...args], { stdio: 'pipe', cwd })
    t.after(() => void child.kill())
    const peer = new PythonPeer(child)
    await until(() => peer.heard.length > 0 || child.exitCode !== null, 'the connection of a Python peer')
    if (peer.heard.length === 0) throw new Error(peer.#stderr)
    peer.heard.shift()
    return peer
  }

  tell(command: object): void {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`)
  }

  async get(count: number): Promise<readonly Record<string, unknown>[]> {
    const what = () => `${count} messages, got ${JSON.stringify(this.heard)} ${this.#stderr}`
    await until(() => this.heard.length >= count, what())
    return this.heard.slice(0, count)
  }
}
