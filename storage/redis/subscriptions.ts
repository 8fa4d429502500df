import type { Logger } from 'filtered-websocket'
import type { Redis } from 'ioredis'
import { chunksOf } from './chunks.ts'
import type { Connection, Kind } from './connection.ts'

/** Channels per SUBSCRIBE command. */
const CHUNK = 1000

interface Wanted {
  readonly deliver: (payload: Buffer) => void
  /** Whether `listen` has settled: a later confirmation of Redis ends a gap. */
  isSettled: boolean
}

/** The subscriptions of a connection. Changes are sent to Redis once per turn of the event loop, and all again after a reconnect. */
export class Subscriptions {
  readonly #connection: Connection
  readonly #kind: Kind
  readonly #log: Logger
  readonly #wanted = new Map<string, Wanted>()
  readonly #subscribed = new Set<string>()
  readonly #changed = new Set<string>()
  /** Reason by channel that Redis refuses to this user. They are subscribed one by one, since one refusal fails the command. */
  readonly #refused = new Map<string, string>()
  #scheduled: Promise<void> | undefined
  #onInterrupted: (channels?: readonly string[]) => void = () => {}
  /** Channels that were subscribed again in this turn. */
  #renewed: string[] = []

  constructor(connection: Connection, kind: Kind, log: Logger) {
    this.#connection = connection
    this.#kind = kind
    this.#log = log
    connection.onMessage(kind, (channel, payload) => this.#wanted.get(channel)?.deliver(payload))
    connection.onLost('receiving', () => {
      this.#subscribed.clear()
      this.#onInterrupted()
    })
    connection.onResubscribed(() => this.#onInterrupted())
    connection.onReady('receiving', () => {
      for (const channel of this.#wanted.keys()) this.#changed.add(channel)
      void this.sync()
    })
  }

  /** Number of channels that Redis refuses. */
  get refused(): number {
    return this.#refused.size
  }

  /** The reason of Redis for refusing a channel. */
  refusalOf(channel: string): string | undefined {
    return this.#refused.get(channel)
  }

  /** Sets the receiver of gaps: channels whose subscription was lost or made again, so that messages may be missing. Default: all. */
  onInterrupted(listen: (channels?: readonly string[]) => void): void {
    this.#onInterrupted = listen
  }

  /** Settles when Redis has answered, or is not reachable; the subscription is retried then. */
  async listen(channel: string, deliver: (payload: Buffer) => void): Promise<void> {
    const wanted = { deliver, isSettled: false }
    this.#wanted.set(channel, wanted)
    await this.#change(channel)
    wanted.isSettled = true
  }

  ignore(channel: string): void {
    this.#wanted.delete(channel)
    this.#refused.delete(channel)
    void this.#change(channel)
  }

  /** Sends the changed subscriptions to Redis. */
  async sync(): Promise<void> {
    for (const channel of this.#changed) {
      if (this.#wanted.has(channel) === this.#subscribed.has(channel)) this.#changed.delete(channel)
    }
    if (this.#connection.listener.status !== 'ready') return
    const add: string[] = []
    const drop: string[] = []
    const alone: string[] = []
    for (const channel of this.#changed) {
      if (this.#subscribed.delete(channel)) drop.push(channel)
      else {
        this.#subscribed.add(channel)
        if (this.#refused.has(channel)) alone.push(channel)
        else add.push(channel)
      }
    }
    this.#changed.clear()
    const size = this.#kind === 'plain' ? CHUNK : 1
    const drops = chunksOf(drop, size).map(channels => this.#unsubscribe(channels))
    const adds = [...chunksOf(add, size), ...chunksOf(alone, 1)].map(channels => this.#subscribe(channels))
    await Promise.all([...drops, ...adds])
  }

  #change(channel: string): Promise<void> {
    this.#changed.add(channel)
    this.#scheduled ??= new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      this.#scheduled = undefined
      return this.sync()
    })
    return this.#scheduled
  }

  async #subscribe(channels: readonly string[]): Promise<void> {
    const { listener } = this.#connection
    try {
      await (this.#kind === 'plain' ? listener.subscribe(...channels) : (listener as Redis).ssubscribe(...channels))
      for (const channel of channels) this.#refused.delete(channel)
      this.#renew(channels.filter(channel => this.#wanted.get(channel)?.isSettled))
    } catch (error) {
      await this.#failed(channels, error as Error)
    }
  }

  /** A failed subscription is retried at the reconnect or at the next tick of the canary. */
  async #failed(channels: readonly string[], { name, message }: Error): Promise<void> {
    const isRefusal = name === 'ReplyError' && message.startsWith('NOPERM')
    if (isRefusal && channels.length > 1) {
      // One refused channel fails the command for all.
      await Promise.all(channels.map(channel => this.#subscribe([channel])))
      return
    }
    for (const channel of channels) {
      this.#subscribed.delete(channel)
      if (this.#wanted.has(channel)) this.#changed.add(channel)
    }
    // ioredis keeps a sharded channel even after a failed subscription; a second one would leak.
    if (this.#kind === 'sharded') void this.#unsubscribe(channels)
    if (!isRefusal) return
    const [channel] = channels
    if (this.#refused.size === 0)
      this.#log.error({ reason: message }, 'redis refuses a subscription, messages do not arrive')
    if (this.#wanted.has(channel!)) this.#refused.set(channel!, message)
  }

  /** Reports all channels of a turn together: in a Redis Cluster each is confirmed alone. */
  #renew(channels: readonly string[]): void {
    if (channels.length === 0) return
    if (this.#renewed.length === 0)
      setImmediate(() => {
        const renewed = this.#renewed
        this.#renewed = []
        this.#onInterrupted(renewed)
      })
    this.#renewed.push(...channels)
  }

  async #unsubscribe(channels: readonly string[]): Promise<void> {
    const { listener } = this.#connection
    try {
      await (this.#kind === 'plain' ? listener.unsubscribe(...channels) : (listener as Redis).sunsubscribe(...channels))
    } catch {
      // The subscription ends with the lost connection.
    }
  }
}
