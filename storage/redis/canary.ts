import calculateSlot from 'cluster-key-slot'
import type { Logger, StorageChecks } from 'filtered-websocket'
import type { Cluster } from 'ioredis'
import { type Connection, RefusedError, type Side } from './connection.ts'
import { channelOf, ownersOf } from './slots.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Milliseconds between two canaries; less with a short timeout. */
const INTERVAL = 1000
/** Milliseconds between two writes, at least. */
const WRITE_INTERVAL = 1000
/** Redis checks whether it accepts writes before it looks for the key. The key does not exist, so XX writes nothing. */
const WRITE = [1, 'XX', 'PX', 1] as const
/** Timeouts without an answer until connections are replaced. */
const RESET_AFTER = 3
/** A tick later than this many intervals was delayed by this process: it does not judge Redis. */
const MAX_TICK_DELAY = 2

export interface CanaryHost {
  readonly channels: Subscriptions
  /** Subscriptions of the carrier; the same as `channels` except with a Redis Cluster. */
  readonly shards: Subscriptions
  readonly log: Logger
  readonly timeoutMs: number
  /** Channel of this node; also the key of its writes. */
  readonly channel: string
}

/** A route of messages, with the state of its canaries; times are from `performance.now()`. */
interface Route {
  /** In a Redis Cluster in a slot of the checked master. */
  readonly channel: string
  readonly subscriptions: Subscriptions
  readonly command: 'PUBLISH' | 'SPUBLISH'
  /** Whether its channel is also a key for test writes. */
  readonly isWritten: boolean
  /** Time at which the last accepted canary was sent. */
  accepted: number
  /** Time of the last answer, errors included. */
  answered: number
  /** Time at which the last received canary was sent. */
  arrived: number
  /** Time at which the oldest canary that is neither refused nor received was sent. */
  missing: number | undefined
  /** Error of the last write; `undefined` if it was accepted. */
  writeError: string | undefined
}

/**
 * Health probe: sends messages to itself by the route of all messages, since an open connection may be dead or without its
 * subscriptions. Judges sending by the answers of Redis and receiving by the arrival of accepted canaries. Also tries a write,
 * which Redis may refuse while it accepts messages. With a Redis Cluster it probes each master.
 */
export class Canary {
  readonly #connection: Connection
  readonly #host: CanaryHost
  /** By name: `bus`, or a master of a cluster. */
  #routes = new Map<string, Route>()
  #timer: NodeJS.Timeout | undefined
  /** Canaries sent before this time do not count for a direction. */
  readonly #since: Record<Side, number> = { sending: 0, receiving: 0 }
  #tickedAt = 0
  #writtenAt = Number.NEGATIVE_INFINITY
  /** The failing directions, as logged. */
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

  /** Whether Redis answers commands, if only with errors. */
  get isAnswering(): boolean {
    const oldest = Math.max(this.#since.sending, performance.now() - this.#host.timeoutMs)
    return this.#connection.isUp('sending') && this.#all(({ answered }) => answered > oldest)
  }

  /** Whether Redis accepts what this node publishes. */
  get isSending(): boolean {
    const { timeoutMs } = this.#host
    const oldest = Math.max(this.#since.sending, performance.now() - timeoutMs)
    return this.#connection.isUp('sending') && this.#all(({ accepted }) => accepted > oldest)
  }

  /** Whether accepted messages arrive. Canaries that could not be sent do not count. */
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

  /** Milliseconds since the last received canary was sent, on the slowest route. */
  get ageMs(): number {
    return this.#oldest(({ arrived }) => arrived)
  }

  /**
   * Settles when the first canary has arrived.
   *
   * @throws Error if it does not arrive within the timeout.
   */
  async start(): Promise<void> {
    const { timeoutMs } = this.#host
    const interval = Math.min(INTERVAL, timeoutMs / 3)
    this.#tickedAt = performance.now()
    this.#timer = setInterval(() => this.#tick(interval), interval)
    this.#timer.unref()
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => {
        const { label, lastError } = this.#connection
        const seconds = timeoutMs / 1000
        reject(new Error(`redis at ${label} is connected, but no message arrives within ${seconds} s: ${lastError}`))
      }, timeoutMs)
      this.#whenFresh.push(resolve)
      this.#send()
      this.#write(this.#tickedAt)
    }).finally(() => clearTimeout(timer))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick(interval: number): void {
    const now = performance.now()
    const isDelayed = now - this.#tickedAt > interval * MAX_TICK_DELAY
    this.#tickedAt = now
    if (!isDelayed) {
      this.#judge()
      this.#replaceDead(this.#host.timeoutMs * RESET_AFTER)
    }
    void this.#host.channels.sync()
    void this.#host.shards.sync()
    this.#send()
    this.#write(now)
  }

  /** Replaces connections without answers; a refusal is an answer. */
  #replaceDead(limitMs: number): void {
    if (this.#oldest(({ answered }) => answered) > limitMs) this.#connection.reset()
    else if (this.#oldest(({ missing, arrived }) => this.#receivedAt(missing, arrived)) > limitMs)
      this.#connection.reset('receiving')
  }

  #receivedAt(missing: number | undefined, arrived: number): number {
    if (!this.#connection.isUp('receiving')) return arrived
    return missing ?? Number.POSITIVE_INFINITY
  }

  #all(isGood: (route: Route) => boolean): boolean {
    for (const route of this.#routes.values()) if (!isGood(route)) return false
    return true
  }

  /** Milliseconds since the oldest of these times. */
  #oldest(timeOf: (route: Route) => number): number {
    return performance.now() - Math.min(...[...this.#routes.values()].map(timeOf))
  }

  #send(): void {
    this.#updateRoutes()
    const now = performance.now()
    for (const route of this.#routes.values()) {
      const sent = this.#connection.publish(route.command, route.channel, String(now), true)
      if (sent === undefined) continue
      route.missing ??= now
      sent.then(
        () => {
          route.accepted = Math.max(route.accepted, now)
          route.answered = performance.now()
          this.#judgeIfBack()
        },
        error => {
          if (error instanceof RefusedError) {
            route.answered = performance.now()
            // Sending fails until the next canary is accepted.
            route.accepted = Number.NEGATIVE_INFINITY
          }
          if (route.missing === now) route.missing = undefined
        },
      )
    }
  }

  #write(now: number): void {
    if (now - this.#writtenAt < WRITE_INTERVAL) return
    this.#writtenAt = now
    for (const route of this.#routes.values()) {
      if (!route.isWritten) continue
      this.#connection.run('SET', route.channel, ...WRITE).then(
        () => this.#wrote(route, undefined),
        (error: Error) => {
          // A lost connection does not count: `sending` reports it.
          if (error instanceof RefusedError || this.#connection.isUp('sending')) this.#wrote(route, error.message)
        },
      )
    }
  }

  #wrote(route: Route, error: string | undefined): void {
    const wasWriting = this.#all(({ writeError }) => writeError === undefined)
    route.writeError = error
    const isWriting = this.#all(({ writeError }) => writeError === undefined)
    if (isWriting === wasWriting || this.#timer === undefined) return
    const { label } = this.#connection
    if (isWriting) this.#host.log.info(`redis at ${label} accepts writes again`)
    else
      this.#host.log.error(
        { reason: error },
        `redis at ${label} refuses writes; values, streams and sets are not stored`,
      )
  }

  /** Updates the routes: those of a cluster change with its masters. */
  #updateRoutes(): void {
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
    for (const [name, route] of this.#routes) {
      const isMoved = route.command === 'SPUBLISH' && owners[calculateSlot(route.channel)] !== name
      if (!isMoved || masters.size === 0) continue
      route.subscriptions.ignore(route.channel)
      this.#routes.delete(name)
    }
  }

  #watch(name: string, routeOf: () => Pick<Route, 'channel' | 'subscriptions' | 'command' | 'isWritten'>): void {
    if (this.#routes.has(name)) return
    const now = performance.now()
    const route: Route = {
      ...routeOf(),
      accepted: now,
      answered: now,
      arrived: now,
      missing: undefined,
      writeError: undefined,
    }
    this.#routes.set(name, route)
    // Both directions fail until the first canary is accepted and has arrived.
    for (const side of ['sending', 'receiving'] as const) this.#since[side] = Math.max(this.#since[side], now)
    const listening = route.subscriptions.listen(route.channel, sent => {
      const at = Number(sent)
      // Ignores messages of other publishers.
      if (!(at > route.arrived && at <= performance.now())) return
      route.arrived = at
      if (route.missing !== undefined && route.missing <= at) route.missing = undefined
      this.#judgeIfBack()
    })
    void listening.then(() => this.#send())
  }

  /** Reports a recovery before the next tick. */
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
      this.#host.log.error({ reason: lastError }, `redis at ${label} is lost: ${failing} messages fails`)
  }
}
