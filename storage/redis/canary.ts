import calculateSlot from 'cluster-key-slot'
import type { Logger } from 'filtered-websocket'
import type { Cluster } from 'ioredis'
import type { Connection } from './connection.ts'
import { channelOf, ownersOf } from './slots.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Milliseconds between two canaries; shorter where the timeout is. */
const INTERVAL = 1000
/** Of the timeout, without an answer, after which connections are made anew. */
const RESET_AFTER = 3
/** Of the interval: a tick that comes later than that was held up by this process, which tells nothing of Redis. */
const HELD_UP = 2

export interface CanaryHost {
  readonly channels: Subscriptions
  /** Those of the way between nodes; the same as `channels` unless this is a Redis Cluster. */
  readonly shards: Subscriptions
  readonly log: Logger
  readonly timeoutMs: number
  /** Heard by this node alone. */
  readonly channel: string
}

/** One way that messages take, and when what was sent on it last arrived. */
interface Flight {
  readonly channel: string
  readonly subscriptions: Subscriptions
  readonly command: 'PUBLISH' | 'SPUBLISH'
  /** When the last one that arrived had been sent; from `performance.now()`. */
  arrived: number
}

/**
 * Sends itself a message by the way that all messages take, and so knows whether they arrive: a connection may be open
 * and dead, or open and no longer subscribed. In a Redis Cluster one for every master.
 */
export class Canary {
  readonly #connection: Connection
  readonly #host: CanaryHost
  /** By what they watch over: the bus, or a master of a cluster. */
  #flights = new Map<string, Flight>()
  #timer: NodeJS.Timeout | undefined
  /** What arrives must have been sent after this. */
  #since = 0
  #tickedAt = 0
  /** Whether the log was told that it is lost. */
  #isLost = false
  #whenFresh: (() => void)[] = []

  constructor(connection: Connection, host: CanaryHost) {
    this.#connection = connection
    this.#host = host
    connection.onLost(() => {
      this.#since = performance.now()
    })
    connection.onReady(() => this.#send())
  }

  /** Whether messages arrive. */
  get isFresh(): boolean {
    return (
      this.ageMs < this.#host.timeoutMs && [...this.#flights.values()].every(({ arrived }) => arrived > this.#since)
    )
  }

  /** How long ago the last message that arrived had been sent, on the way where that is longest. */
  get ageMs(): number {
    return performance.now() - Math.min(...[...this.#flights.values()].map(({ arrived }) => arrived))
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
      if (this.ageMs > this.#host.timeoutMs * RESET_AFTER) this.#connection.reset()
    }
    void this.#host.channels.tell()
    void this.#host.shards.tell()
    this.#send()
  }

  #send(): void {
    this.#plan()
    const now = String(performance.now())
    for (const { channel, command } of this.#flights.values()) {
      this.#connection.publish(command, channel, now, true)?.catch(() => {})
    }
  }

  /** Which ways there are: those of a cluster change with its masters. */
  #plan(): void {
    const { channel, channels, shards } = this.#host
    this.#watch('bus', () => ({ channel, subscriptions: channels, command: 'PUBLISH' }))
    if (!this.#connection.isCluster) return
    const owners = ownersOf(this.#connection.commands as Cluster)
    const masters = new Set(owners)
    for (const master of masters) {
      this.#watch(master, () => ({
        channel: channelOf(master, owners, channel),
        subscriptions: shards,
        command: 'SPUBLISH',
      }))
    }
    for (const [name, flight] of this.#flights) {
      const isStray = flight.command === 'SPUBLISH' && owners[calculateSlot(flight.channel)] !== name
      if (!isStray || masters.size === 0) continue
      flight.subscriptions.ignore(flight.channel)
      this.#flights.delete(name)
    }
  }

  #watch(name: string, flightOf: () => Omit<Flight, 'arrived'>): void {
    if (this.#flights.has(name)) return
    const flight = { ...flightOf(), arrived: performance.now() }
    this.#flights.set(name, flight)
    // Not fresh until the first has arrived.
    this.#since = Math.max(this.#since, flight.arrived)
    const listening = flight.subscriptions.listen(flight.channel, sent => {
      const at = Number(sent)
      // Others may publish here too, whatever they mean by it.
      if (!(at > flight.arrived && at <= performance.now())) return
      flight.arrived = at
      if (this.isFresh) this.#judge()
    })
    void listening.then(() => this.#send())
  }

  #judge(): void {
    const { isFresh } = this
    if (isFresh) for (const resolve of this.#whenFresh.splice(0)) resolve()
    if (isFresh !== this.#isLost || this.#timer === undefined) return
    this.#isLost = !isFresh
    const { label, lastError } = this.#connection
    if (isFresh) this.#host.log.info(`redis at ${label} is back`)
    else this.#host.log.error({ reason: lastError }, `redis at ${label} is lost, other nodes are not reached`)
  }
}
