import calculateSlot from 'cluster-key-slot'
import type { Logger, StorageChecks } from 'filtered-websocket'
import type { Cluster } from 'ioredis'
import { type Connection, RefusedError, type Side } from './connection.ts'
import { channelOf, ownersOf } from './slots.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Milliseconds between two canaries; shorter where the timeout is. */
const INTERVAL = 1000
/** Milliseconds between two writes, at least. */
const WRITE_INTERVAL = 1000
/** Redis checks whether it accepts this before it looks for the key, which is never there: nothing is stored or replicated. */
const WRITE = [1, 'XX', 'PX', 1] as const
/** Of the timeout, without a sign of life, after which connections are replaced. */
const RESET_AFTER = 3
/** Of the interval: a tick that comes later than that was held up by this process, which tells nothing of Redis. */
const HELD_UP = 2

export interface CanaryHost {
  readonly channels: Subscriptions
  /** Those of the way between nodes; the same as `channels` unless this is a Redis Cluster. */
  readonly shards: Subscriptions
  readonly log: Logger
  readonly timeoutMs: number
  /** Of this node alone; also the key of its writes. */
  readonly channel: string
}

/** One way that messages take, and what is known of the canaries on it; all times are from `performance.now()`. */
interface Flight {
  /** Of Redis Cluster: in a slot of the master that it watches. */
  readonly channel: string
  readonly subscriptions: Subscriptions
  readonly command: 'PUBLISH' | 'SPUBLISH'
  /** Whether its channel is also the key that is written. */
  readonly isWritten: boolean
  /** When the last one that Redis accepted had been sent. */
  accepted: number
  /** When Redis last answered one, by an error too. */
  answered: number
  /** When the last one that arrived had been sent. */
  arrived: number
  /** When the oldest that was sent and has neither been refused nor arrived had been sent. */
  missing: number | undefined
  /** The error with which Redis answered the last write; `undefined`: it accepted it. */
  writeError: string | undefined
}

/**
 * Sends itself a message by the way that all messages take, and so knows whether they arrive: a connection may be open
 * and dead, or open and no longer subscribed. Each direction is judged for itself: sending by the answers of Redis, receiving by
 * the canaries that it accepted. Also tries a write, because a Redis that carries messages may refuse writes. In a Redis Cluster
 * one of each for every master.
 */
export class Canary {
  readonly #connection: Connection
  readonly #host: CanaryHost
  /** By what they watch over: the bus, or a master of a cluster. */
  #flights = new Map<string, Flight>()
  #timer: NodeJS.Timeout | undefined
  /** What counts for a direction must have been sent after this. */
  readonly #since: Record<Side, number> = { sending: 0, receiving: 0 }
  #tickedAt = 0
  #writtenAt = Number.NEGATIVE_INFINITY
  /** The directions that the log knows to fail. */
  #failing = ''
  #whenFresh: (() => void)[] = []

  constructor(connection: Connection, host: CanaryHost) {
    this.#connection = connection
    this.#host = host
    for (const side of ['sending', 'receiving'] as const) {
      connection.onLost(side, () => {
        this.#since[side] = performance.now()
      })
      connection.onReady(side, () => this.#send())
    }
  }

  get checks(): StorageChecks {
    return { sending: this.isSending, receiving: this.isReceiving, writing: this.isWriting }
  }

  /** Whether Redis accepts what this node publishes. */
  get isSending(): boolean {
    const { timeoutMs } = this.#host
    const oldest = Math.max(this.#since.sending, performance.now() - timeoutMs)
    return this.#connection.isUp('sending') && this.#all(({ accepted }) => accepted > oldest)
  }

  /** Whether what Redis accepts arrives here. Canaries that could not be sent say nothing about that. */
  get isReceiving(): boolean {
    const oldest = performance.now() - this.#host.timeoutMs
    const { channels, shards } = this.#host
    return (
      this.#connection.isUp('receiving') &&
      channels.refused === 0 &&
      shards.refused === 0 &&
      this.#all(
        ({ arrived, missing }) => arrived > this.#since.receiving && !(missing !== undefined && missing < oldest),
      )
    )
  }

  /** Whether Redis accepts writes. */
  get isWriting(): boolean {
    return this.#connection.isUp('sending') && this.#all(({ writeError }) => writeError === undefined)
  }

  /** How long ago the last message that arrived had been sent, on the way where that is longest. */
  get ageMs(): number {
    return this.#oldest(({ arrived }) => arrived)
  }

  /**
   * Settles when the first has arrived.
   *
   * @throws Error when it does not within the timeout.
   */
  async start(): Promise<void> {
    const { timeoutMs } = this.#host
    const interval = Math.min(INTERVAL, timeoutMs / 3)
    this.#tickedAt = performance.now()
    this.#timer = setInterval(() => this.#tick(interval), interval)
    this.#timer.unref()
    let late: NodeJS.Timeout | undefined
    await new Promise<void>((resolve, reject) => {
      late = setTimeout(() => {
        const { label, lastError } = this.#connection
        const seconds = timeoutMs / 1000
        reject(new Error(`redis at ${label} is connected, but no message comes back within ${seconds} s: ${lastError}`))
      }, timeoutMs)
      this.#whenFresh.push(resolve)
      this.#send()
      this.#write(this.#tickedAt)
    }).finally(() => clearTimeout(late))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick(interval: number): void {
    const now = performance.now()
    const isHeldUp = now - this.#tickedAt > interval * HELD_UP
    this.#tickedAt = now
    if (!isHeldUp) {
      this.#judge()
      this.#replaceDead(this.#host.timeoutMs * RESET_AFTER)
    }
    void this.#host.channels.tell()
    void this.#host.shards.tell()
    this.#send()
    this.#write(now)
  }

  /** A Redis that refuses is alive: only silence is a reason. */
  #replaceDead(limitMs: number): void {
    if (this.#oldest(({ answered }) => answered) > limitMs) this.#connection.reset()
    else if (this.#oldest(({ missing, arrived }) => this.#heardAt(missing, arrived)) > limitMs)
      this.#connection.reset('receiving')
  }

  #heardAt(missing: number | undefined, arrived: number): number {
    if (!this.#connection.isUp('receiving')) return arrived
    return missing ?? Number.POSITIVE_INFINITY
  }

  #all(isGood: (flight: Flight) => boolean): boolean {
    for (const flight of this.#flights.values()) if (!isGood(flight)) return false
    return true
  }

  /** Milliseconds since the oldest of these times. */
  #oldest(timeOf: (flight: Flight) => number): number {
    return performance.now() - Math.min(...[...this.#flights.values()].map(timeOf))
  }

  #send(): void {
    this.#plan()
    const now = performance.now()
    for (const flight of this.#flights.values()) {
      const sent = this.#connection.publish(flight.command, flight.channel, String(now), true)
      if (sent === undefined) continue
      flight.missing ??= now
      sent.then(
        () => {
          flight.accepted = Math.max(flight.accepted, now)
          flight.answered = performance.now()
          this.#judgeIfBack()
        },
        error => {
          if (error instanceof RefusedError) {
            flight.answered = performance.now()
            // Nothing is accepted until the next one is.
            flight.accepted = Number.NEGATIVE_INFINITY
          }
          if (flight.missing === now) flight.missing = undefined
        },
      )
    }
  }

  #write(now: number): void {
    if (now - this.#writtenAt < WRITE_INTERVAL) return
    this.#writtenAt = now
    for (const flight of this.#flights.values()) {
      if (!flight.isWritten) continue
      this.#connection.run('SET', flight.channel, ...WRITE).then(
        () => this.#wrote(flight, undefined),
        (error: Error) => {
          // A lost connection says nothing about writes, and is known.
          if (error instanceof RefusedError || this.#connection.isUp('sending')) this.#wrote(flight, error.message)
        },
      )
    }
  }

  #wrote(flight: Flight, error: string | undefined): void {
    const wasWriting = this.#all(({ writeError }) => writeError === undefined)
    flight.writeError = error
    const isWriting = this.#all(({ writeError }) => writeError === undefined)
    if (isWriting === wasWriting || this.#timer === undefined) return
    const { label } = this.#connection
    if (isWriting) this.#host.log.info(`redis at ${label} accepts writes again`)
    else
      this.#host.log.error({ reason: error }, `redis at ${label} refuses writes, values, history and sets are not kept`)
  }

  /** Which ways there are: those of a cluster change with its masters. */
  #plan(): void {
    const { channel, channels, shards } = this.#host
    const { isCluster } = this.#connection
    this.#watch('bus', () => ({ channel, subscriptions: channels, command: 'PUBLISH', isWritten: !isCluster }))
    if (!isCluster) return
    const owners = ownersOf(this.#connection.commands as Cluster)
    const masters = new Set(owners)
    for (const master of masters) {
      this.#watch(master, () => ({
        channel: channelOf(master, owners, channel),
        subscriptions: shards,
        command: 'SPUBLISH',
        isWritten: true,
      }))
    }
    for (const [name, flight] of this.#flights) {
      const isStray = flight.command === 'SPUBLISH' && owners[calculateSlot(flight.channel)] !== name
      if (!isStray || masters.size === 0) continue
      flight.subscriptions.ignore(flight.channel)
      this.#flights.delete(name)
    }
  }

  #watch(name: string, routeOf: () => Pick<Flight, 'channel' | 'subscriptions' | 'command' | 'isWritten'>): void {
    if (this.#flights.has(name)) return
    const now = performance.now()
    const flight: Flight = {
      ...routeOf(),
      accepted: now,
      answered: now,
      arrived: now,
      missing: undefined,
      writeError: undefined,
    }
    this.#flights.set(name, flight)
    // Not fresh until the first was accepted, and has arrived.
    for (const side of ['sending', 'receiving'] as const) this.#since[side] = Math.max(this.#since[side], now)
    const listening = flight.subscriptions.listen(flight.channel, sent => {
      const at = Number(sent)
      // Others may publish here too, whatever they mean by it.
      if (!(at > flight.arrived && at <= performance.now())) return
      flight.arrived = at
      if (flight.missing !== undefined && flight.missing <= at) flight.missing = undefined
      this.#judgeIfBack()
    })
    void listening.then(() => this.#send())
  }

  /** Good news is not kept until the next tick. */
  #judgeIfBack(): void {
    if (this.isSending && this.isReceiving) this.#judge()
  }

  #judge(): void {
    const failing = [...(this.isSending ? [] : ['sending']), ...(this.isReceiving ? [] : ['receiving'])].join(' and ')
    if (failing === '') for (const resolve of this.#whenFresh.splice(0)) resolve()
    if (failing === this.#failing || this.#timer === undefined) return
    const wasLost = this.#failing !== ''
    this.#failing = failing
    const { label, lastError } = this.#connection
    if (failing === '') this.#host.log.info(`redis at ${label} is back`)
    else if (!wasLost)
      this.#host.log.error({ reason: lastError }, `redis at ${label} is lost for ${failing} messages of other nodes`)
  }
}
