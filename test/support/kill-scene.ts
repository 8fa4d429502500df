import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { folder, type Launched, launch, root, type Test } from './cli.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { type Kind, type LogRecord, readRecords, type Tally, tally } from './numbered.ts'
import type { Orders, Report, Transfer } from './numbered-copter.ts'
import { Peer, until } from './peer.ts'
import { freePort } from './port.ts'
import { type RedisServer, startRedis } from './redis.ts'

export interface SceneOptions {
  readonly nodes: 1 | 2
  readonly storage: 'memory' | 'redis'
  readonly over: 'tcp' | 'ws'
  /** Requests per second, and as many actions, of the client and of each node. */
  readonly rate: number
  /** Seconds for an answer of Redis. Default: 10. */
  readonly redisTimeout?: number
  /** A transfer in place of messages. Paths are relative to `folder`; the files of the server are in `root`. */
  readonly transfer?: Transfer
}

interface Node {
  readonly flags: readonly string[]
  /** Between the client and it. */
  readonly proxy: FaultProxy
  /** Between it and Redis. */
  readonly storage: FaultProxy | undefined
  launched: Launched
}

/** Servers and a client in their own processes, which send numbered messages to each other. */
export class KillScene {
  readonly #undo: (() => unknown)[] = []
  readonly #test: Test = { after: undo => void this.#undo.push(undo) }
  readonly #options: SceneOptions
  readonly #log: string
  readonly #dead = new Set<number>()
  readonly nodes: Node[] = []
  redis: RedisServer | undefined
  readonly folder: string
  #copter!: ChildProcess
  /** Reports of the client. */
  reports: Report[] = []

  private constructor(options: SceneOptions) {
    this.#options = options
    this.folder = folder(this.#test)
    this.#log = join(this.folder, 'log')
    writeFileSync(this.#log, '')
    mkdirSync(join(this.folder, 'root'))
  }

  /** @param prepare - runs before all processes, with the folder. */
  static async open(options: SceneOptions, prepare: (folder: string) => void = () => {}): Promise<KillScene> {
    const scene = new KillScene(options)
    try {
      prepare(scene.folder)
      await scene.#open()
      return scene
    } catch (error) {
      await scene.close()
      throw error
    }
  }

  async #open(): Promise<void> {
    if (this.#options.storage === 'redis') {
      const redis = await startRedis()
      this.redis = redis
      this.#undo.push(() => redis.stop())
    }
    for (let i = 0; i < this.#options.nodes; i++) this.nodes.push(await this.#node())
    await this.startCopter()
  }

  async #node(): Promise<Node> {
    const [http, tcp] = [await freePort(), await freePort()]
    const storage = this.redis && (await this.#proxy(this.redis.port))
    const proxy = await this.#proxy(this.#options.over === 'tcp' ? tcp : http)
    const flags = [
      ...['-p', String(http), '--messaging-port', String(tcp), '-f', join(root, 'test/support/filters/numbered.ts')],
      ...['--numbered-log', this.#log, '--numbered-rate', String(this.#options.transfer ? 0 : this.#options.rate)],
      ...[
        '--messaging-resume',
        '--messaging-lease',
        '1',
        '--drain',
        '1',
        '--messaging-root',
        join(this.folder, 'root'),
      ],
      ...(storage
        ? [
            ...['--storage', 'redis', '--redis-url', `redis://127.0.0.1:${storage.port}`],
            ...['--redis-timeout', String(this.#options.redisTimeout ?? 10)],
          ]
        : []),
    ]
    return { flags, proxy, storage, launched: await launch(this.#test, flags) }
  }

  async #proxy(port: number): Promise<FaultProxy> {
    const proxy = await startFaultProxy({ host: '127.0.0.1', port })
    this.#undo.push(() => proxy.stop())
    return proxy
  }

  /** Starts the client, and waits until it is connected. */
  async startCopter(): Promise<void> {
    const { over, rate, transfer } = this.#options
    const orders: Orders = {
      urls: this.nodes.map(({ proxy }) => `${over}://127.0.0.1:${proxy.port}`),
      log: this.#log,
      rate,
      transfer: transfer && { ...transfer, local: join(this.folder, transfer.local) },
    }
    // Compiled, or from the source.
    const extension = extname(import.meta.filename)
    const copter = fork(join(import.meta.dirname, `numbered-copter${extension}`), [JSON.stringify(orders)], {
      execArgv: extension === '.ts' ? ['--import', import.meta.resolve('tsx')] : [],
    })
    this.#copter = copter
    this.#undo.push(() => void copter.kill('SIGKILL'))
    this.reports = []
    copter.on('message', report => this.reports.push(report as Report))
    await this.#opened(0)
  }

  /** Waits until the client has connected more than `count` times. */
  async #opened(count: number): Promise<void> {
    await until(() => this.#openings > count, 'the client to connect')
  }

  get #openings(): number {
    return this.reports.filter(report => report === 'open').length
  }

  /** Kills the client while it handles a message. */
  async killCopter(): Promise<void> {
    await this.#stopAtWork(this.#copter.pid!)
    this.#dead.add(this.#copter.pid!)
    this.#copter.kill('SIGKILL')
    await once(this.#copter, 'exit')
  }

  /** Connects the client to the next node. */
  async move(): Promise<void> {
    const before = this.#openings
    this.#copter.send('move')
    await this.#opened(before)
  }

  /** Kills a node while it handles a message. */
  async killNode(i: number): Promise<void> {
    const { launched } = this.nodes[i]!
    await this.#stopAtWork(launched.pid)
    this.#dead.add(launched.pid)
    await launched.kill()
  }

  /** Stops a process while it handles a message that needs a response. */
  async #stopAtWork(pid: number): Promise<void> {
    if (this.#options.transfer !== undefined) return
    const underWay = () => {
      const own = this.records().filter(({ pid: by, kind }) => by === pid && kind !== 'emit')
      const worked = new Set(own.flatMap(({ event, n }) => (event === 'worked' ? [n] : [])))
      return own.some(({ event, n }) => event === 'done' && !worked.has(n))
    }
    for (let tries = 0; tries < 200; tries++) {
      await until(underWay, 'a message under way')
      process.kill(pid, 'SIGSTOP')
      await until(() => isStopped(pid), 'a stopped process')
      if (underWay()) return
      process.kill(pid, 'SIGCONT')
    }
    throw new Error(`process ${pid} was never stopped while it handled a message`)
  }

  /** Starts a node again on the same ports. */
  async startNode(i: number): Promise<void> {
    const node = this.nodes[i]!
    node.launched = await launch(this.#test, node.flags)
  }

  /** Stops all senders, and waits for the responses. */
  async settle(ms: number): Promise<void> {
    this.#copter.send('rest')
    for (const { launched } of this.nodes) {
      if (this.#dead.has(launched.pid)) continue
      const peer = await Peer.open(launched.url, {}, ['messaging'])
      peer.send('{"action":"rest"}')
      peer.ws.close()
    }
    const isSettled = () => ALL.every(kind => this.tally(kind, 0).open === 0)
    await until(isSettled, 'all responses', ms).catch(() => {})
  }

  /** @param instant - the end of the fault. */
  tally(kind: Kind, instant: number): Tally {
    return tally(this.records(), kind, this.#dead, instant)
  }

  records(): readonly LogRecord[] {
    return readRecords(this.#log)
  }

  async close(): Promise<void> {
    for (const step of this.#undo.splice(0).reverse()) await step()
  }
}

/** Whether SIGSTOP has stopped a process: its log has no more records. */
function isStopped(pid: number): boolean {
  return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

const ALL: readonly Kind[] = ['call', 'deliver', 'emit', 'ask']
