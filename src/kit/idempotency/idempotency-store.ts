import type { Server } from '../../contract/client.ts'
import type { Awaitable } from '../../contract/deadline.ts'
import type { Retention } from '../../contract/streams.ts'
import { IdempotencyError, Sender, type SenderHost } from './sender.ts'

/** Milliseconds that a record waits for the storage. */
const WAIT_MS = 10_000
/** Default of `maxPerId`. */
const MAX_PER_ID = 8

export interface IdempotencyOptions {
  /** Prefix of the topics with the records: begins with `@`, and no other topic begins with it. */
  readonly prefix: string
  server(): Pick<Server, 'append'>
  readonly nodes: SenderHost['nodes']
  /** Requests of a sender that may be unanswered. */
  readonly window: number
  /** Milliseconds that a resend is recognized after the last request of its sender. */
  readonly rememberMs: number
  /** Bytes of the records that this node knows; beyond, it evicts. */
  readonly maxBytes: number
  /** Senders that this node knows, connected or not. */
  readonly maxSenders: number
  /** Those of one id. Default: 8. */
  readonly maxPerId?: number
  /** Called with an error of the storage that no caller gets. */
  failed(error: unknown): void
}

/**
 * Records of requests, so that one that is sent again, to any node, is not run again.
 *
 * Before a request runs, its begin is recorded in the storage, and after it, its outcome. A resend gets the recorded outcome. It waits
 * while another node runs the request, and runs again, with `repeated`, only if that node has died or the record is lost.
 *
 * The filter has a `retain` handler that returns `store.retain(topic)`.
 *
 * @example
 * const limits = { window: 1000, rememberMs: 600_000, maxBytes: 67_108_864, maxSenders: 10_000 }
 * const store = new IdempotencyStore({ prefix: '@orders-done/', server: () => server, nodes, failed, ...limits })
 * const sender = store.enter('robot 7', incarnation)
 * const outcome = await sender.once(17, isResent, repeated => order(repeated))
 * sender.leave()
 */
export class IdempotencyStore {
  readonly #options: IdempotencyOptions
  readonly #host: SenderHost
  readonly #retention: Retention
  /** By topic. */
  readonly #senders = new Map<string, Sender>()
  readonly #countById = new Map<string, number>()
  #bytes = 0

  constructor(options: IdempotencyOptions) {
    this.#options = options
    this.#host = { ...options, counted: bytes => this.#count(bytes) }
    // Attributes are kept for 10 times the time of the entries, and at least for an hour.
    const ttlMs = Math.ceil(options.rememberMs / 10)
    this.#retention = { size: 1, ttlMs, full: 'trim', away: 'refuse', waitMs: WAIT_MS }
  }

  /** The answer of the filter's `retain` handler; `undefined` for topics of others. */
  retain(topic: string): Retention | undefined {
    return topic.startsWith(this.#options.prefix) ? this.#retention : undefined
  }

  /**
   * The sender of a further connection, which calls `leave` at its end.
   *
   * @param id - names the program.
   * @param epoch - a random string of the incarnation.
   * @throws IdempotencyError `busy`: all senders that make room are connected, or have requests under way.
   */
  enter(id: string, epoch: string): Sender {
    // The length keeps names apart: an id is any string.
    const topic = `${this.#options.prefix}${id.length}:${id}:${epoch}`
    let sender = this.#senders.get(topic)
    if (sender === undefined) {
      this.#makeRoom(id)
      sender = new Sender(id, topic, this.#host)
      this.#senders.set(topic, sender)
      this.#countById.set(id, this.#countOf(id) + 1)
    }
    sender.connections++
    return sender
  }

  /**
   * Runs a request once that is identified by a key instead of a number; see `Sender.once`.
   *
   * @param key - a string that the client makes for the request, and uses again when it sends it again.
   */
  async once<T>(id: string, key: string, run: (repeated: boolean) => Awaitable<T>): Promise<T> {
    const sender = this.enter(id, key)
    try {
      return await sender.once(1, false, run)
    } finally {
      sender.leave()
    }
  }

  /** Evicts the senders that have disconnected before `rememberMs`; call it three times in that time. */
  sweep(): void {
    const oldest = performance.now() - this.#options.rememberMs
    for (const sender of this.#senders.values()) if (isIdle(sender) && sender.leftAt < oldest) this.#remove(sender)
  }

  /** A client that comes and goes again and again MUST NOT keep others out. */
  #makeRoom(id: string): void {
    const { maxSenders, maxPerId = MAX_PER_ID } = this.#options
    if (this.#countOf(id) >= maxPerId && !this.#removeOldest(sender => sender.id === id))
      throw new IdempotencyError('busy', `${maxPerId} incarnations with this id are connected, at most ${maxPerId}`)
    if (this.#senders.size >= maxSenders && !this.#removeOldest(() => true))
      throw new IdempotencyError('busy', `${maxSenders} senders are connected, at most ${maxSenders}`)
  }

  /** Returns whether there is a sender to remove. */
  #removeOldest(test: (sender: Sender) => boolean): boolean {
    let oldest: Sender | undefined
    for (const sender of this.#senders.values())
      if (isIdle(sender) && test(sender) && !(sender.leftAt >= (oldest?.leftAt ?? Number.POSITIVE_INFINITY)))
        oldest = sender
    if (oldest !== undefined) this.#remove(oldest)
    return oldest !== undefined
  }

  #remove(sender: Sender): void {
    this.#senders.delete(sender.topic)
    const left = this.#countOf(sender.id) - 1
    if (left > 0) this.#countById.set(sender.id, left)
    else this.#countById.delete(sender.id)
    void sender.evict()
  }

  #countOf(id: string): number {
    return this.#countById.get(id) ?? 0
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    while (this.#bytes > this.#options.maxBytes) {
      let next: Sender | undefined
      for (const sender of this.#senders.values())
        if (sender.evictableBytes > 0 && (next === undefined || isBefore(sender, next))) next = sender
      // Else all requests are under way.
      if (next === undefined) return
      void next.evict()
    }
  }
}

function isIdle({ connections, isBusy }: Sender): boolean {
  return connections === 0 && !isBusy
}

/** Disconnected senders are evicted first, the longest gone before others, then the largest. */
function isBefore(one: Sender, other: Sender): boolean {
  if (one.connections === 0 && other.connections === 0) return one.leftAt < other.leftAt
  if (one.connections === 0 || other.connections === 0) return one.connections === 0
  return one.evictableBytes > other.evictableBytes
}
