import type { Logger } from 'filtered-websocket'
import type { Redis } from 'ioredis'
import type { Connection } from './connection.ts'

/** Channels that one SUBSCRIBE names. */
const CHUNK = 1000

interface Wanted {
  readonly deliver: (payload: Buffer) => void
}

/**
 * The channels that are to be heard, and what Redis has been told of them. All changes of one turn of the event loop
 * are told together, and everything again after each reconnect.
 */
export class Subscriptions {
  readonly #connection: Connection
  readonly #kind: 'plain' | 'sharded'
  readonly #log: Logger
  readonly #wanted = new Map<string, Wanted>()
  /** What Redis was told to send. */
  readonly #told = new Set<string>()
  readonly #changed = new Set<string>()
  #soon: Promise<void> | undefined
  #isRefused = false

  constructor(connection: Connection, kind: 'plain' | 'sharded', log: Logger) {
    this.#connection = connection
    this.#kind = kind
    this.#log = log
    connection.listener.on(kind === 'plain' ? 'messageBuffer' : 'smessageBuffer', (channel: Buffer, payload: Buffer) =>
      this.#wanted.get(channel.toString())?.deliver(payload),
    )
    // A cluster's own subscribers are kept and moved by ioredis.
    if (connection.isCluster) return
    connection.onLost(() => this.#told.clear())
    connection.onReady(() => {
      for (const channel of this.#wanted.keys()) this.#changed.add(channel)
      void this.tell()
    })
  }

  /** Settles when Redis has confirmed, or cannot now: it is told again as soon as it can be. */
  listen(channel: string, deliver: (payload: Buffer) => void): Promise<void> {
    this.#wanted.set(channel, { deliver })
    return this.#change(channel)
  }

  ignore(channel: string): Promise<void> {
    this.#wanted.delete(channel)
    return this.#change(channel)
  }

  /** Tells Redis what has changed since it was last told. */
  async tell(): Promise<void> {
    for (const channel of this.#changed) {
      if (this.#wanted.has(channel) === this.#told.has(channel)) this.#changed.delete(channel)
    }
    if (this.#connection.listener.status !== 'ready') return
    const add: string[] = []
    const drop: string[] = []
    for (const channel of this.#changed) {
      if (this.#told.delete(channel)) drop.push(channel)
      else {
        add.push(channel)
        this.#told.add(channel)
      }
    }
    this.#changed.clear()
    const size = this.#kind === 'plain' ? CHUNK : 1
    const drops = chunksOf(drop, size).map(channels => this.#unsubscribe(channels))
    const adds = chunksOf(add, size).map(channels => this.#subscribe(channels))
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
      this.#isRefused = false
    } catch (error) {
      this.#failed(channels, error as Error)
    }
  }

  /** To be told again later: by the reconnect, or by the next tick of the canary. */
  #failed(channels: readonly string[], error: Error): void {
    for (const channel of channels) {
      this.#told.delete(channel)
      this.#changed.add(channel)
    }
    // ioredis keeps a sharded channel even when it could not subscribe; keeping it twice would leak.
    if (this.#kind === 'sharded') void this.#unsubscribe(channels)
    if (!this.#connection.isUp || this.#isRefused) return
    this.#isRefused = true
    this.#log.error({ channels: channels.slice(0, 3), reason: error.message }, 'redis refuses a subscription')
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

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  const chunks: T[][] = []
  for (let i = 0; i < items.length; i += size) chunks.push(items.slice(i, i + size))
  return chunks
}
