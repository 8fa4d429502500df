import type { Server } from '../../contract/client.ts'
import type { Awaitable } from '../../contract/deadline.ts'
import type { Retention } from '../../contract/streams.ts'
import { IdempotencyError, Sender, type SenderHost } from './sender.ts'

/** Milliseconds that a record waits for the storage. */
const WAIT_MS = 10_000
/** Incarnations of one id. */
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
  /** Senders, and requests with a key, that this node knows, connected or not. */
  readonly maxSenders: number
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
  /** Those without a connection, in the order of their disconnects. */
  readonly #disconnected = new Set<Sender>()
  /** Incarnations of each id; `undefined`: requests with a key. */
  readonly #countById = new Map<string | undefined, number>()
  #bytes = 0

  constructor(options: IdempotencyOptions) {
    this.#options = options
    this.#host = {
      ...options,
      counted: bytes => this.#count(bytes),
      disconnected: sender => this.#disconnected.add(sender),
    }
    // Attributes are kept for 10 times the time of the entries, and at least for an hour.
    const ttlMs = Math.ceil(options.rememberMs / 10)
    this.#retention = { size: 1, ttlMs, full: 'trim', away: 'refuse', waitMs: WAIT_MS }
  }

  /** The answer of the filter's `retain` handler; `undefined` for topics of others. */
  retain(topic: string): Retention | undefined {
    return topic.startsWith(this.#options.prefix) ? this.#retention : undefined
  }

  /**
   * The sender of a further connection, which calls `leave` at its end. An id has at most 8 incarnations.
   *
   * @param id - names the program.
   * @param epoch - a random string of the incarnation.
   * @throws IdempotencyError `busy`: all senders that make room are connected, or have requests under way.
   */
  enter(id: string, epoch: string): Sender {
    return this.#enter(id, epoch, id)
  }

  /**
   * Runs a request once that is identified by a key instead of a number; see `Sender.once`. A key is recognized for `rememberMs`, or until
   * `maxSenders` or `maxBytes` evict its record. From then on its request runs with `repeated`, until the storage deletes the topic: an hour
   * after its last use, or `rememberMs` if that is longer.
   *
   * @param key - a string that the client makes for the request, and uses again when it sends it again.
   */
  async once<T>(id: string, key: string, run: (repeated: boolean) => Awaitable<T>): Promise<T> {
    const sender = this.#enter(id, key, undefined)
    try {
      return await sender.once(1, undefined, run)
    } finally {
      sender.leave()
    }
  }

  /** Evicts the senders that have disconnected before `rememberMs`; call it three times in that time. */
  sweep(): void {
    const oldest = performance.now() - this.#options.rememberMs
    for (const sender of this.#disconnected) {
      if (sender.leftAt >= oldest) return
      if (!sender.isBusy) this.#remove(sender)
    }
  }

  /** @param countedId - `undefined`: the number for its id is not limited. */
  #enter(id: string, epoch: string, countedId: string | undefined): Sender {
    // The length keeps names apart: an id is any string.
    const topic = `${this.#options.prefix}${id.length}:${id}:${epoch}`
    let sender = this.#senders.get(topic)
    if (sender === undefined) {
      this.#makeRoom(countedId)
      sender = new Sender(countedId, topic, this.#host)
      this.#senders.set(topic, sender)
      this.#countById.set(countedId, this.#countOf(countedId) + 1)
    }
    sender.connections++
    this.#disconnected.delete(sender)
    return sender
  }

  /** A client that comes and goes again and again MUST NOT keep others out. */
  #makeRoom(id: string | undefined): void {
    const { maxSenders } = this.#options
    if (id !== undefined && this.#countOf(id) >= MAX_PER_ID && !this.#removeOldest(sender => sender.id === id))
      throw new IdempotencyError('busy', `${MAX_PER_ID} incarnations with this id are connected, at most ${MAX_PER_ID}`)
    if (this.#senders.size >= maxSenders && !this.#removeOldest())
      throw new IdempotencyError('busy', `${maxSenders} senders are connected, at most ${maxSenders}`)
  }

  /** Returns whether there is a sender to remove. */
  #removeOldest(test = (_: Sender) => true): boolean {
    for (const sender of this.#disconnected) {
      if (sender.isBusy || !test(sender)) continue
      this.#remove(sender)
      return true
    }
    return false
  }

  #remove(sender: Sender): void {
    this.#senders.delete(sender.topic)
    this.#disconnected.delete(sender)
    const left = this.#countOf(sender.id) - 1
    if (left > 0) this.#countById.set(sender.id, left)
    else this.#countById.delete(sender.id)
    sender.remove()
  }

  #countOf(id: string | undefined): number {
    return this.#countById.get(id) ?? 0
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    // Eviction itself counts, with less than 0.
    while (bytes > 0 && this.#bytes > this.#options.maxBytes) {
      const next = this.#nextToEvict()
      // Else all requests are under way.
      if (next === undefined) return
      void next.evict()
    }
  }

  /** Disconnected senders are evicted first, in the order of their disconnects, then the largest. */
  #nextToEvict(): Sender | undefined {
    for (const sender of this.#disconnected) if (sender.evictableBytes > 0) return sender
    let largest: Sender | undefined
    for (const sender of this.#senders.values())
      if (sender.evictableBytes > (largest?.evictableBytes ?? 0)) largest = sender
    return largest
  }
}
