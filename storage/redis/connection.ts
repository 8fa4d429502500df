import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'filtered-websocket'
import { Cluster, Redis } from 'ioredis'
import { ownerOf } from './slots.ts'
import type { ConnectOptions, Target } from './target.ts'

/** Milliseconds between two tries to connect, at most; each with jitter, so that nodes do not come back all at once. */
const MAX_RETRY_DELAY = 1000
/** Milliseconds that a stop waits for Redis to answer what is under way. */
const LAST_ANSWERS = 300
/** Milliseconds that a connection which is given up has to close. */
const LAST_BYTES = 100
/** Milliseconds over which refused publishes are summed to one line in the log. */
const LOG_EVERY = 1000
/** Of the timeout, between two times that connections are replaced. */
const RESET_PAUSE = 3
/** Bytes that a command under way takes beside its arguments: measured, 2 KiB with its command, promise and timer. */
const COMMAND_BYTES = 2048
/** What is known of a failure while there was none but silence. */
const SILENT = 'no answer'
/** What no waiting mends. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR invalid (username-)?password|ERR Client sent AUTH)/i

export interface ConnectionHost {
  readonly log: Logger
  /** Milliseconds that an answer may take. */
  readonly timeoutMs: number
  /** Shown by CLIENT LIST. */
  readonly name: string
  /** Bytes of commands that may wait for Redis. */
  readonly maxPendingBytes: number
}

type Client = Redis | Cluster
export type Kind = 'plain' | 'sharded'
type Deliver = (channel: string, payload: Buffer) => void

/** The direction of messages: each has a connection of its own, but in a Redis Cluster one client has both. */
export type Side = 'sending' | 'receiving'

/** A client for commands. */
interface Commands {
  readonly client: Client
  /** Bytes of commands that wait for an answer. */
  pendingBytes: number
}

/**
 * The connections to Redis. Nothing is ever sent twice: a command whose answer was lost fails, and what cannot be sent
 * now is not kept for later.
 */
export class Connection {
  readonly isCluster: boolean
  readonly label: string
  readonly #target: Target
  readonly #host: ConnectionHost
  readonly #onReady: Record<Side, (() => void)[]> = { sending: [], receiving: [] }
  readonly #onLost: Record<Side, (() => void)[]> = { sending: [], receiving: [] }
  readonly #deliver: Partial<Record<Kind, Deliver>> = {}
  #commands: Commands
  #listener: Client
  #isLost = false
  #reconnects = 0
  /** Publishes that failed behind the point of no return: they may have arrived. */
  #unanswered = 0
  /** Publishes that Redis answered with an error, and those of them that are not in the log yet. */
  #refused = 0
  #unlogged = 0
  #lastError = SILENT
  #resetAt = performance.now()
  #isStarted = false
  #isClosing = false

  constructor(target: Target, host: ConnectionHost) {
    this.label = target.label
    this.isCluster = target.cluster !== undefined
    this.#target = target
    this.#host = host
    this.#commands = this.#makeCommands()
    this.#listener = this.isCluster ? this.#commands.client : this.#makeListener()
  }

  /** For commands that `run` and `publish` are not enough for. */
  get commands(): Client {
    return this.#commands.client
  }

  /** Where subscriptions live. */
  get listener(): Client {
    return this.#listener
  }

  /** Connected for this direction, as far as one can know without asking: a canary knows better. */
  isUp(side: Side): boolean {
    const { status } = side === 'sending' ? this.commands : this.listener
    return status === 'ready' && !this.#isClosing
  }

  /** What was last heard of a failure. */
  get lastError(): string {
    return this.#lastError
  }

  metrics(): Readonly<Record<string, number>> {
    return {
      reconnects_total: this.#reconnects,
      unanswered_publishes_total: this.#unanswered,
      refused_publishes_total: this.#refused,
      pending_bytes: this.#commands.pendingBytes,
    }
  }

  /**
   * @param wait - for as long as it takes; else the first failure counts.
   * @throws Error when Redis cannot be reached, or lets this user not in.
   */
  async start(wait: boolean): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#connect()
        break
      } catch {
        const problem = `redis at ${this.label}: ${this.#lastError}`
        if (!wait || REFUSED.test(this.#lastError)) {
          await this.close()
          throw new Error(problem)
        }
        if (tries === 1) this.#host.log.warn(`waiting for ${problem}`)
        await sleep(retryDelay(tries))
        this.#replaceAll()
      }
    }
    this.#isStarted = true
  }

  /** Calls back whenever this direction is connected. */
  onReady(side: Side, listen: () => void): void {
    this.#onReady[side].push(listen)
  }

  /** Calls back when this direction has lost its connection; with the one that receives the subscriptions are lost. */
  onLost(side: Side, listen: () => void): void {
    this.#onLost[side].push(listen)
  }

  /** Hears all channels of a kind that are subscribed to. */
  onMessage(kind: Kind, deliver: Deliver): void {
    this.#deliver[kind] = deliver
  }

  /**
   * One command, by its name in the documentation of Redis.
   *
   * @throws RefusedError when Redis answers with an error; Error when it is not reached, or does not answer in time: the
   * command may have been executed then.
   */
  run(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, sizeOf(args), () => this.commands.call(command, ...args))
  }

  /** The same with Buffers where `run` answers text. */
  runBuffer(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, sizeOf(args), () => this.commands.callBuffer(command, ...args))
  }

  /**
   * Publishes, never twice; `undefined` when Redis is not reached or too much waits for it. Needs no connection that
   * receives.
   *
   * @throws RefusedError when Redis answers with an error: then no node gets it. Error when the answer was lost.
   * @param evenIfFull - for what tells whether messages arrive.
   */
  publish(
    command: 'PUBLISH' | 'SPUBLISH',
    channel: string,
    payload: string | Buffer,
    evenIfFull = false,
  ): Promise<void> | undefined {
    const commands = this.#commands
    const size = sizeOf([channel, payload])
    if (!this.isUp('sending') || !(evenIfFull || this.#hasRoom(size))) return undefined
    // Over the same node of a cluster each time, or messages of one publisher would overtake each other.
    const node = command === 'PUBLISH' && this.isCluster ? ownerOf(this.commands as Cluster, channel) : this.commands
    if (node === undefined) return undefined
    commands.pendingBytes += size
    return node.call(command, channel, payload).then(
      () => {
        commands.pendingBytes -= size
      },
      error => {
        commands.pendingBytes -= size
        const failure = this.#failureOf(command, error)
        if (!(failure instanceof RefusedError)) this.#unanswered++
        else if (!evenIfFull) this.#countRefused(failure)
        throw failure
      },
    )
  }

  /**
   * Replaces connections that look alive and are not; not more often than makes sense. The one for commands stays when only
   * the other one is dead, so that what it sends is not lost.
   */
  reset(side: Side | 'both' = 'both'): void {
    const now = performance.now()
    if (this.#isClosing || now - this.#resetAt < this.#host.timeoutMs * RESET_PAUSE) return
    this.#resetAt = now
    this.#isLost = true
    if (side === 'receiving' && !this.isCluster) {
      const old = this.#listener
      this.#listener = this.#makeListener()
      old.disconnect()
      this.#notify(this.#onLost, ['receiving'])
    } else {
      this.#replaceAll()
      this.#notify(this.#onLost, ['sending', 'receiving'])
    }
    this.#connect().catch(() => {})
  }

  /** Lets go of Redis once it has answered what is under way. */
  async close(): Promise<void> {
    this.#isClosing = true
    const { commands } = this
    if (commands.status === 'ready')
      await Promise.race([commands.quit().catch(() => {}), sleep(LAST_ANSWERS, undefined, { ref: false })])
    for (const client of this.#all) client.disconnect()
  }

  get #all(): ReadonlySet<Client> {
    return new Set([this.commands, this.listener])
  }

  #makeCommands(): Commands {
    const { cluster } = this.#target
    return { client: cluster === undefined ? this.#makeOne() : this.#makeCluster(cluster), pendingBytes: 0 }
  }

  #makeListener(): Client {
    return this.#deliverFrom(this.#makeOne())
  }

  #common(): ConnectOptions {
    const { name, timeoutMs } = this.#host
    return { ...this.#target.connect, connectionName: name, connectTimeout: timeoutMs, disconnectTimeout: LAST_BYTES }
  }

  #makeCluster(nodes: NonNullable<Target['cluster']>): Client {
    const { timeoutMs } = this.#host
    const common = this.#common()
    const both = new Cluster([...nodes], {
      lazyConnect: true,
      shardedSubscribers: true,
      // After a lost connection a command must fail, not be sent to another node.
      retryDelayOnFailover: 0,
      slotsRefreshTimeout: timeoutMs,
      slotsRefreshInterval: 5000,
      clusterRetryStrategy: retryDelay,
      // A certificate is for a name; ioredis would ask for its address and connect to that.
      ...(common.tls !== undefined && {
        dnsLookup: (host: string, done: (error: null, address: string) => void) => done(null, host),
      }),
      redisOptions: common,
    })
    return this.#deliverFrom(this.#watch(both))
  }

  #makeOne(): Client {
    const { timeoutMs } = this.#host
    const options: ConnectOptions = {
      ...this.#common(),
      lazyConnect: true,
      // Resent commands would be executed twice; subscriptions.ts subscribes again.
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      retryStrategy: retryDelay,
      sentinelRetryStrategy: retryDelay,
      sentinelCommandTimeout: timeoutMs,
    }
    return this.#watch(new Redis(options))
  }

  #watch(client: Client): Client {
    for (const event of ['error', 'node error', 'nodeError'])
      client.on(event, (error: Error) => this.#sidesOf(client).length > 0 && this.#failed(error))
    client.on('close', () => this.#lost(this.#sidesOf(client)))
    client.on('ready', () => this.#ready(this.#sidesOf(client)))
    return client
  }

  /** The directions that it has; none once it was replaced. */
  #sidesOf(client: Client): readonly Side[] {
    if (this.#isClosing) return []
    return [
      ...(client === this.commands ? ['sending' as const] : []),
      ...(client === this.listener ? ['receiving' as const] : []),
    ]
  }

  #deliverFrom(client: Client): Client {
    for (const [event, kind] of [
      ['messageBuffer', 'plain'],
      ['smessageBuffer', 'sharded'],
    ] as const) {
      client.on(event, (channel: Buffer, payload: Buffer) => {
        if (client === this.#listener && !this.#isClosing) this.#deliver[kind]?.(channel.toString(), payload)
      })
    }
    return client
  }

  #lost(sides: readonly Side[]): void {
    if (sides.length === 0) return
    this.#isLost = true
    if (this.#lastError === SILENT) this.#lastError = 'connection closed'
    this.#notify(this.#onLost, sides)
  }

  #ready(sides: readonly Side[]): void {
    if (sides.length === 0) return
    if (this.isUp('sending') && this.isUp('receiving')) {
      if (this.#isLost && this.#isStarted) this.#reconnects++
      this.#isLost = false
      this.#lastError = SILENT
    }
    this.#notify(this.#onReady, sides)
  }

  #notify(listeners: Record<Side, (() => void)[]>, sides: readonly Side[]): void {
    for (const side of sides) for (const listen of listeners[side]) listen()
  }

  /** Rejects with the first failure; after that ioredis goes on trying by itself. */
  async #connect(): Promise<void> {
    const clients = [...this.#all].filter(({ status }) => status === 'wait')
    const late = new AbortController()
    const timeout = sleep(this.#host.timeoutMs, undefined, { signal: late.signal }).then(() => {
      throw new Error(SILENT)
    })
    timeout.catch(() => {})
    const ready = clients.map(async client => {
      const becomesReady = new Promise(resolve => client.once('ready', resolve))
      await client.connect().catch(error => {
        this.#failed(error)
        throw error
      })
      await becomesReady
    })
    try {
      await Promise.race([Promise.all(ready), timeout])
    } finally {
      late.abort()
    }
  }

  /** A client that is told to reconnect at the wrong moment never comes back; a new one has no past. */
  #replaceAll(): void {
    const old = this.#all
    this.#commands = this.#makeCommands()
    this.#listener = this.isCluster ? this.commands : this.#makeListener()
    for (const client of old) client.disconnect()
  }

  /** ioredis repeats itself while it reconnects; the canary decides what the log is told. */
  #failed(error: Error & { lastNodeError?: Error }): void {
    const { message } = error.lastNodeError ?? error
    // That it has closed says less than why.
    if (!/^Connection is closed|^None of startup nodes/.test(message)) this.#lastError = message
    this.#host.log.debug({ reason: message }, 'redis connection')
  }

  /** One that is larger than all the room may be under way alone. */
  #hasRoom(size: number): boolean {
    const { pendingBytes } = this.#commands
    return pendingBytes === 0 || pendingBytes + size <= this.#host.maxPendingBytes
  }

  async #answer(command: string, size: number, send: () => Promise<unknown>): Promise<unknown> {
    const commands = this.#commands
    if (!this.isUp('sending')) throw new Error(`redis at ${this.label} is not reached: ${this.#lastError}`)
    if (!this.#hasRoom(size)) throw new Error(`redis ${command}: more than --redis-buffer waits for an answer`)
    commands.pendingBytes += size
    const answer = send().finally(() => {
      commands.pendingBytes -= size
    })
    const timer = new AbortController()
    const late = sleep(this.#host.timeoutMs, undefined, { signal: timer.signal, ref: false }).then(() => {
      throw new Error(`no answer within ${this.#host.timeoutMs / 1000} s`)
    })
    late.catch(() => {})
    try {
      return await Promise.race([answer, late])
    } catch (error) {
      throw this.#failureOf(command, error as Error)
    } finally {
      timer.abort()
    }
  }

  /** One line a second at most: every message may be refused. */
  #countRefused({ message }: RefusedError): void {
    this.#refused++
    if (++this.#unlogged > 1) return
    setTimeout(() => {
      this.#host.log.error(
        { reason: message, refused: this.#unlogged },
        'redis refuses messages, other nodes do not get them',
      )
      this.#unlogged = 0
    }, LOG_EVERY).unref()
  }

  /** The errors of ioredis carry the arguments of their command, which belong into no log. */
  #failureOf(command: string, { name, message: full }: Error): Error {
    // So does Redis when it does not know a command.
    const message = full.replace(/, with args beginning with.*/s, '')
    // A master that became a replica: what it is told goes nowhere.
    if (message.startsWith('READONLY')) this.reset()
    if (name !== 'ReplyError') return new Error(`redis ${command}: ${message}`)
    this.#lastError = message
    return new RefusedError(`redis ${command}: ${message}`)
  }
}

/** Redis has answered, with an error: the connection is well, the command is not. */
export class RefusedError extends Error {}

function sizeOf(args: readonly (string | number | Buffer)[]): number {
  let size = COMMAND_BYTES
  for (const arg of args) size += typeof arg === 'number' ? 8 : Buffer.byteLength(arg)
  return size
}

function retryDelay(times: number): number {
  return Math.min(2 ** Math.min(times, 10) * 25, MAX_RETRY_DELAY) * (0.5 + Math.random())
}
