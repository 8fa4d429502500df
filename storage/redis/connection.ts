import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'filtered-websocket'
import type { Cluster } from 'ioredis'
import { type Client, type ClientSettings, createClient, retryDelay } from './clients.ts'
import { ownerOf } from './slots.ts'
import type { Target } from './target.ts'

/** Milliseconds for pending answers when stopping. */
const QUIT_TIMEOUT = 300
/** Milliseconds over which refused publishes are summed for one log line. */
const LOG_EVERY = 1000
/** Timeouts between two replacements of connections. */
const RESET_PAUSE = 3
/** Milliseconds for Redis to confirm the subscriptions on a new connection. */
const RESUBSCRIBE_MS = 1000
/** Memory of a pending command in addition to its arguments, as measured: command, promise and timer. */
const COMMAND_BYTES = 2048
/** The error if Redis does not answer. */
const SILENT = 'no answer'
/** Errors that a retry does not fix. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR invalid (username-)?password|ERR Client sent AUTH)/i

export interface ConnectionHost extends ClientSettings {
  readonly log: Logger
  /** Limit of `pendingBytes`. */
  readonly maxPendingBytes: number
}

export type Kind = 'plain' | 'sharded'
type Deliver = (channel: string, payload: Buffer) => void

/** The direction of messages. Each has a separate connection; in a Redis Cluster both share one client. */
export type Side = 'sending' | 'receiving'

/** A client for commands. */
interface Commands {
  readonly client: Client
  /** Bytes of commands without an answer. */
  pendingBytes: number
}

/** The connections to Redis. Commands are never resent or queued: a lost answer or a lost connection is an error. */
export class Connection {
  readonly isCluster: boolean
  readonly label: string
  readonly #target: Target
  readonly #host: ConnectionHost
  readonly #onReady: Record<Side, (() => void)[]> = { sending: [], receiving: [] }
  readonly #onLost: Record<Side, (() => void)[]> = { sending: [], receiving: [] }
  readonly #onResubscribed: (() => void)[] = []
  readonly #deliver: Partial<Record<Kind, Deliver>> = {}
  #commands: Commands
  #listener: Client
  #isLost = false
  #reconnects = 0
  /** Publishes whose answer was lost: they may have arrived. */
  #unanswered = 0
  /** Publishes that Redis refused, and those of them that are not logged yet. */
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

  /** The client for commands. */
  get commands(): Client {
    return this.#commands.client
  }

  /** The client for subscriptions. */
  get listener(): Client {
    return this.#listener
  }

  /** Whether the connection is open; only the canary detects a dead one. */
  isUp(side: Side): boolean {
    const { status } = side === 'sending' ? this.commands : this.listener
    return status === 'ready' && !this.#isClosing
  }

  /** The last error. */
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
   * @param wait - whether to retry without limit instead of failing.
   * @throws Error if Redis is not reachable, or refuses the credentials.
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

  /** Called whenever this direction is connected. */
  onReady(side: Side, listen: () => void): void {
    this.#onReady[side].push(listen)
  }

  /** Called when this direction has lost its connection, and with `receiving` all subscriptions. */
  onLost(side: Side, listen: () => void): void {
    this.#onLost[side].push(listen)
  }

  /** Called when a Redis Cluster client has replaced a connection with sharded subscriptions, by itself. */
  onResubscribed(listen: () => void): void {
    this.#onResubscribed.push(listen)
  }

  /** Sets the receiver of messages on all subscribed channels of a kind. */
  onMessage(kind: Kind, deliver: Deliver): void {
    this.#deliver[kind] = deliver
  }

  /**
   * Runs a Redis command.
   *
   * @throws RefusedError if Redis answers with an error. Error if it is not reachable or does not answer in time: the command
   * may have been executed then.
   */
  run(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, sizeOf(args), () => this.commands.call(command, ...args))
  }

  /** Like `run`, with Buffers instead of strings in the reply. */
  runBuffer(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#answer(command, sizeOf(args), () => this.commands.callBuffer(command, ...args))
  }

  /**
   * Publishes at most once; `undefined` if Redis is not reachable or the buffer is full. Does not need the receiving connection.
   *
   * @throws RefusedError if Redis answers with an error: no node gets the message. Error if the answer was lost.
   * @param evenIfFull - ignores the limit of the buffer; for canaries.
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
    // Always by the same cluster node, to keep the order of one publisher's messages.
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
   * Replaces dead connections, at most once per `RESET_PAUSE`. Keeps the command connection if only the other one is dead, so
   * that its pending commands are not lost.
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

  /** Closes the connections after pending answers. */
  async close(): Promise<void> {
    this.#isClosing = true
    const { commands } = this
    if (commands.status === 'ready')
      await Promise.race([commands.quit().catch(() => {}), sleep(QUIT_TIMEOUT, undefined, { ref: false })])
    for (const client of this.#all) client.disconnect()
  }

  get #all(): ReadonlySet<Client> {
    return new Set([this.commands, this.listener])
  }

  #makeCommands(): Commands {
    const client = this.#watch(createClient(this.#target, this.#host))
    return { client: this.isCluster ? this.#deliverFrom(client) : client, pendingBytes: 0 }
  }

  #makeListener(): Client {
    return this.#deliverFrom(this.#watch(createClient(this.#target, this.#host)))
  }

  #watch(client: Client): Client {
    for (const event of ['error', 'node error', 'nodeError'])
      client.on(event, (error: Error) => this.#sidesOf(client).length > 0 && this.#failed(error))
    client.on('close', () => this.#lost(this.#sidesOf(client)))
    client.on('ready', () => this.#ready(this.#sidesOf(client)))
    client.on('subscribersReady', () => this.#resubscribed(client))
    return client
  }

  /** The directions of a client; empty once it is replaced. */
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

  /** ioredis does not report when the subscriptions are confirmed: after `RESUBSCRIBE_MS` they are. */
  #resubscribed(client: Client): void {
    const notify = () => {
      if (this.#sidesOf(client).includes('receiving')) for (const listen of this.#onResubscribed) listen()
    }
    notify()
    setTimeout(notify, RESUBSCRIBE_MS).unref()
  }

  #notify(listeners: Record<Side, (() => void)[]>, sides: readonly Side[]): void {
    for (const side of sides) for (const listen of listeners[side]) listen()
  }

  /** Rejects with the first failure; ioredis then retries. */
  async #connect(): Promise<void> {
    const clients = [...this.#all].filter(({ status }) => status === 'wait')
    const timer = new AbortController()
    const timeout = sleep(this.#host.timeoutMs, undefined, { signal: timer.signal }).then(() => {
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
      timer.abort()
    }
  }

  /** Replaces the clients: `reconnect` of ioredis hangs in some of its states. */
  #replaceAll(): void {
    const old = this.#all
    this.#commands = this.#makeCommands()
    this.#listener = this.isCluster ? this.commands : this.#makeListener()
    for (const client of old) client.disconnect()
  }

  /** Logged at debug level: ioredis repeats errors while it reconnects, and the canary logs the loss. */
  #failed(error: Error & { lastNodeError?: Error }): void {
    const { message } = error.lastNodeError ?? error
    // Keeps the cause rather than its consequence.
    if (!/^Connection is closed|^None of startup nodes/.test(message)) this.#lastError = message
    this.#host.log.debug({ reason: message }, 'redis connection')
  }

  /** A command above the limit is accepted if no other is pending. */
  #hasRoom(size: number): boolean {
    const { pendingBytes } = this.#commands
    return pendingBytes === 0 || pendingBytes + size <= this.#host.maxPendingBytes
  }

  #answer(command: string, size: number, send: () => Promise<unknown>): Promise<unknown> {
    const commands = this.#commands
    if (!this.isUp('sending'))
      return Promise.reject(new Error(`redis at ${this.label} is not reachable: ${this.#lastError}`))
    if (!this.#hasRoom(size))
      return Promise.reject(new Error(`redis ${command}: --redis-buffer is full of commands without an answer`))
    commands.pendingBytes += size
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(this.#failureOf(command, error))
      // A timer, since an AbortController costs 40 µs.
      const timer = setTimeout(
        () => fail(new Error(`no answer within ${this.#host.timeoutMs / 1000} s`)),
        this.#host.timeoutMs,
      )
      timer.unref()
      const answered = () => {
        clearTimeout(timer)
        commands.pendingBytes -= size
      }
      send().then(
        answer => {
          answered()
          resolve(answer)
        },
        error => {
          answered()
          fail(error)
        },
      )
    })
  }

  /** Logs at most one line per second. */
  #countRefused({ message }: RefusedError): void {
    this.#refused++
    if (++this.#unlogged > 1) return
    setTimeout(() => {
      this.#host.log.error(
        { reason: message, refused: this.#unlogged },
        'redis refuses messages, they do not reach other nodes',
      )
      this.#unlogged = 0
    }, LOG_EVERY).unref()
  }

  /** A new error without the arguments of the command, which errors of ioredis contain and logs must not. */
  #failureOf(command: string, { name, message: full }: Error): Error {
    // Redis repeats the arguments of an unknown command.
    const message = full
      .replace(/, with args beginning with.*/s, '')
      // Where a script failed; Redis 6.2 writes it before the error.
      .replace(/^ERR Error running script \(call to \w+\): (?:@user_script:\s*\d+: )+-?/, '')
      .replace(/ script: \w+, on @user_script:\d+\.$/, '')
    // The master has become a replica.
    if (message.startsWith('READONLY')) this.reset()
    if (name !== 'ReplyError') return new Error(`redis ${command}: ${message}`)
    this.#lastError = message
    return new RefusedError(`redis ${command}: ${message}`)
  }
}

/** Redis has answered with an error: the connection works. */
export class RefusedError extends Error {}

function sizeOf(args: readonly (string | number | Buffer)[]): number {
  let size = COMMAND_BYTES
  for (const arg of args) size += typeof arg === 'number' ? 8 : Buffer.byteLength(arg)
  return size
}
