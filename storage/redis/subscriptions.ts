import type { Logger } from 'filtered-websocket'
import type { Redis } from 'ioredis'
import { chunksOf } from './chunks.ts'
import type { Connection, Kind } from './connection.ts'

/** Channels that one SUBSCRIBE names. */
const CHUNK = 1000

/**
 * The channels that are to be heard, and what Redis has been told of them. All changes of one turn of the event loop
 * are told together, and everything again after each reconnect.
 */
export class Subscriptions {
  readonly #connection: Connection
  readonly #kind: Kind
  readonly #log: Logger
  readonly #wanted = new Map<string, (payload: Buffer) => void>()
  /** What Redis was told to send. */
  readonly #told = new Set<string>()
  readonly #changed = new Set<string>()
  /** Channels that Redis refuses to this user, and why; they are asked for alone, so as not to take others with them. */
  readonly #refused = new Map<string, string>()
  #soon: Promise<void> | undefined

  constructor(connection: Connection, kind: Kind, log: Logger) {
    this.#connection = connection
    this.#kind = kind
    this.#log = log
    connection.onMessage(kind, (channel, payload) => this.#wanted.get(channel)?.(payload))
    // A cluster's subscribers are kept and moved by ioredis, for as long as it is the same client.
    connection.onLost('receiving', () => this.#told.clear())
    connection.onReady('receiving', () => {
      for (const channel of this.#wanted.keys()) this.#changed.add(channel)
      void this.tell()
    })
  }

  /** How many channels Redis refuses. */
  get refused(): number {
    return this.#refused.size
  }

  /** Why Redis refuses a channel, if it does. */
  refusalOf(channel: string): string | undefined {
    return this.#refused.get(channel)
  }

  /** Settles when Redis has answered, or cannot now: it is told again as soon as it can be. */
  listen(channel: string, deliver: (payload: Buffer) => void): Promise<void> {
    this.#wanted.set(channel, deliver)
    return this.#change(channel)
  }

  ignore(channel: string): void {
    this.#wanted.delete(channel)
    this.#refused.delete(channel)
    void this.#change(channel)
  }

  /** Tells Redis what has changed since it was last told. */
  async tell(): Promise<void> {
    for (const channel of this.#changed) {
      if (this.#wanted.has(channel) === this.#told.has(channel)) this.#changed.delete(channel)
    }
    if (this.#connection.listener.status !== 'ready') return
    const add: string[] = []
    const drop: string[] = []
    const alone: string[] = []
    for (const channel of this.#changed) {
      if (this.#told.delete(channel)) drop.push(channel)
      else {
        this.#told.add(channel)
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
    this.#soon ??= new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      this.#soon = undefined
      return this.tell()
    })
    return this.#soon
  }

  async #subscribe(channels: readonly string[]): Promise<void> {
    const { listener } = this.#connection
    try {
      await (this.#kind === 'plain' ? listener.subscribe(...channels) : (listener as Redis).ssubscribe(...channels))
      for (const channel of channels) this.#refused.delete(channel)
    } catch (error) {
      await this.#failed(channels, error as Error)
    }
  }

  /** To be told again later: by the reconnect, or by the next tick of the canary. */
  async #failed(channels: readonly string[], { name, message }: Error): Promise<void> {
    const isRefusal = name === 'ReplyError' && message.startsWith('NOPERM')
    if (isRefusal && channels.length > 1) {
      // One that is refused takes all of its command with it.
      await Promise.all(channels.map(channel => this.#subscribe([channel])))
      return
    }
    for (const channel of channels) {
      this.#told.delete(channel)
      if (this.#wanted.has(channel)) this.#changed.add(channel)
    }
    // ioredis keeps a sharded channel even when it could not subscribe; keeping it twice would leak.
    if (this.#kind === 'sharded') void this.#unsubscribe(channels)
    if (!isRefusal) return
    const [channel] = channels
    if (this.#refused.size === 0)
      this.#log.error({ reason: message }, 'redis refuses a subscription, messages do not arrive')
    if (this.#wanted.has(channel!)) this.#refused.set(channel!, message)
  }

  async #unsubscribe(channels: readonly string[]): Promise<void> {
    const { listener } = this.#connection
    try {
      await (this.#kind === 'plain' ? listener.unsubscribe(...channels) : (listener as Redis).sunsubscribe(...channels))
    } catch {
      // The connection is gone, and with it the subscription.
    }
  }
}
