import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'filtered-websocket'
import { Cluster, Redis } from 'ioredis'
import { ownerOf } from './slots.ts'
import type { ConnectOptions, Target } from './target.ts'

/** Milliseconds between two tries to connect, at most; each with jitter, so that nodes do not come back all at once. */
const MAX_RETRY_DELAY = 1000
/** Milliseconds that a stop waits for Redis to answer what is under way. */
const LAST_ANSWERS = 1000
/** Milliseconds that a connection which is given up has to close. */
const LAST_BYTES = 100
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
  /** Bytes of publishes that may wait for Redis. */
  readonly maxPendingBytes: number
}

/**
 * Two connections to Redis, one for commands and one that listens (for a Redis Cluster: to each of its nodes). Nothing is
 * ever sent twice: a command whose answer was lost fails, and what cannot be sent now is not kept for later.
 */
export class Connection {
  readonly commands: Redis | Cluster
  /** Where subscriptions live. */
  readonly listener: Redis | Cluster
  readonly isCluster: boolean
  readonly label: string
  readonly #host: ConnectionHost
  #pendingBytes = 0
  #reconnects = 0
  /** Publishes that failed behind the point of no return: they may have arrived. */
  #unanswered = 0
  #lastError = SILENT
  #isClosing = false

  constructor(target: Target, host: ConnectionHost) {
    this.#host = host
    this.label = target.label
    this.isCluster = target.cluster !== undefined
    const connect: ConnectOptions = {
      ...target.connect,
      connectionName: host.name,
      lazyConnect: true,
      connectTimeout: host.timeoutMs,
      disconnectTimeout: LAST_BYTES,
      // Resent commands would be executed twice; subscriptions.ts subscribes again.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResubscribe: false,
      retryStrategy: retryDelay,
      sentinelRetryStrategy: retryDelay,
      sentinelCommandTimeout: host.timeoutMs,
    }
    if (target.cluster !== undefined) {
      this.commands = new Cluster([...target.cluster], {
        lazyConnect: true,
        shardedSubscribers: true,
        // As above: after a lost connection a command must fail, not be sent to another node.
        retryDelayOnFailover: 0,
        slotsRefreshTimeout: host.timeoutMs,
        slotsRefreshInterval: 5000,
        clusterRetryStrategy: retryDelay,
        redisOptions: {
          ...target.connect,
          connectionName: host.name,
          connectTimeout: host.timeoutMs,
          disconnectTimeout: LAST_BYTES,
        },
      })
      this.listener = this.commands
    } else {
      this.commands = new Redis(connect)
      this.listener = new Redis(connect)
    }
    for (const client of this.#clients) {
      client.on('error', error => this.#failed(error))
      client.on('node error', error => this.#failed(error))
      client.on('nodeError', error => this.#failed(error))
    }
  }

  /** Connected, as far as one can know without asking: a canary knows better. */
  get isUp(): boolean {
    return this.commands.status === 'ready' && this.listener.status === 'ready' && !this.#isClosing
  }

  /** What was last heard of a failure. */
  get lastError(): string {
    return this.#lastError
  }

  metrics(): Readonly<Record<string, number>> {
    return {
      reconnects_total: this.#reconnects,
      unanswered_publishes_total: this.#unanswered,
      pending_bytes: this.#pendingBytes,
    }
  }

  /**
   * @param wait - for as long as it takes; else the first failure counts.
   * @throws Error when Redis cannot be reached, or lets this user not in.
   */
  async start(wait: boolean): Promise<void> {
    let isTold = false
    let judge = () => {}
    const failed = new Promise<never>((_, reject) => {
      judge = () => {
        const problem = `redis at ${this.label}: ${this.#lastError}`
        if (!wait || REFUSED.test(this.#lastError)) reject(new Error(problem))
        else if (!isTold) this.#host.log.warn(`waiting for ${problem}`)
        isTold = true
      }
      if (!wait) sleep(this.#host.timeoutMs, undefined, { ref: false }).then(judge)
    })
    this.onLost(judge)
    try {
      await Promise.race([Promise.all(this.#clients.map(client => this.#untilReady(client))), failed])
    } catch (error) {
      await this.close()
      throw error
    } finally {
      for (const client of this.#clients) client.off('close', judge)
    }
    this.listener.on('ready', () => {
      this.#reconnects++
    })
    this.onReady(() => {
      this.#lastError = SILENT
    })
  }

  /** Calls back whenever connections were made anew, and all are up. */
  onReady(listen: () => void): void {
    for (const client of this.#clients) client.on('ready', () => this.isUp && listen())
  }

  onLost(listen: () => void): void {
    for (const client of this.#clients) client.on('close', listen)
  }

  /**
   * One command, by its name in the documentation of Redis.
   *
   * @throws Error when Redis refuses it, is not reached, or does not answer in time: it may have been executed then.
   */
  run(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, () => this.commands.call(command, ...args))
  }

  /** The same with Buffers where `run` answers text. */
  runBuffer(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, () => this.commands.callBuffer(command, ...args))
  }

  /** Publishes, never twice; `undefined` when Redis is not reached or too much waits for it. */
  publish(command: 'PUBLISH' | 'SPUBLISH', channel: string, payload: string | Buffer): Promise<void> | undefined {
    const size = Buffer.byteLength(payload)
    if (!this.isUp || this.#pendingBytes + size > this.#host.maxPendingBytes) return undefined
    // Over the same node of a cluster each time, or messages of one publisher would overtake each other.
    const node = command === 'PUBLISH' && this.isCluster ? ownerOf(this.commands as Cluster, channel) : this.commands
    if (node === undefined) return undefined
    this.#pendingBytes += size
    return node.call(command, channel, payload).then(
      () => {
        this.#pendingBytes -= size
      },
      error => {
        this.#pendingBytes -= size
        this.#unanswered++
        throw withoutArguments(command, error)
      },
    )
  }

  /** Makes all connections anew, for one that looks alive and is not. */
  reset(): void {
    for (const client of this.#clients) {
      // While it connects, ioredis must not be disturbed: it would give up for good.
      if (client.status === 'ready' || client.status === 'connect') client.disconnect(true)
      else if (client.status === 'end' && !this.#isClosing) client.connect().catch(error => this.#failed(error))
    }
  }

  /** Lets go of Redis once it has answered what is under way. */
  async close(): Promise<void> {
    this.#isClosing = true
    const isReady = this.commands.status === 'ready'
    if (isReady)
      await Promise.race([this.commands.quit().catch(() => {}), sleep(LAST_ANSWERS, undefined, { ref: false })])
    for (const client of this.#clients) client.disconnect()
  }

  get #clients(): readonly (Redis | Cluster)[] {
    return this.listener === this.commands ? [this.commands] : [this.commands, this.listener]
  }

  #untilReady(client: Redis | Cluster): Promise<void> {
    return new Promise(resolve => {
      client.once('ready', resolve)
      client.connect().catch(error => this.#failed(error))
    })
  }

  /** ioredis repeats itself while it reconnects; the canary decides what the log is told. */
  #failed(error: Error & { lastNodeError?: Error }): void {
    const { message } = error.lastNodeError ?? error
    // That it has closed says less than why.
    if (!/^Connection is closed|^None of startup nodes/.test(message)) this.#lastError = message
    this.#host.log.debug({ reason: message }, 'redis connection')
  }

  async #answer(command: string, send: () => Promise<unknown>): Promise<unknown> {
    if (!this.isUp) throw new Error(`redis at ${this.label} is not reached: ${this.#lastError}`)
    const timer = new AbortController()
    const late = sleep(this.#host.timeoutMs, undefined, { signal: timer.signal, ref: false }).then(() => {
      throw new Error(`no answer within ${this.#host.timeoutMs / 1000} s`)
    })
    late.catch(() => {})
    try {
      return await Promise.race([send(), late])
    } catch (error) {
      // A master that became a replica: what it is told goes nowhere.
      if (/^READONLY/.test((error as Error).message)) this.reset()
      throw withoutArguments(command, error as Error)
    } finally {
      timer.abort()
    }
  }
}

/** The errors of ioredis carry the arguments of their command, which belong into no log. */
function withoutArguments(command: string, { message }: Error): Error {
  return new Error(`redis ${command}: ${message}`)
}

function retryDelay(times: number): number {
  return Math.min(2 ** Math.min(times, 10) * 25, MAX_RETRY_DELAY) * (0.5 + Math.random())
}
