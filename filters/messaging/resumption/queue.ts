import type { Awaitable, Entry, Logger, Storage } from 'filtered-websocket'
import { answerInTime, CallFailed } from 'filtered-websocket/kit'
import type { Action } from '../wire/message.ts'

/** Of the longest life of an entry, that counts of entries live; each sweep counts anew. */
const COUNT_LIVES = 2

export interface QueueLimits {
  /** Of what is kept for one peer. */
  readonly maxCount: number
  readonly maxBytes: number
  readonly maxAgeMs: number
  /** Peers for which this node keeps something. */
  readonly maxPeers: number
}

/** An action kept for a peer. */
export interface Kept {
  /** Of the entry. */
  readonly entry: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly bytes: number
  /** Its id is its own for ever. */
  readonly action: Action & { readonly id: string }
}

/** What is kept in storage for peers that are not there, or have not answered yet. */
export class Queue {
  readonly #history: Storage['history']
  readonly #values: Storage['values']
  readonly #limits: QueueLimits
  readonly #log: Logger
  /** For whom this node has kept something, and may have still. */
  readonly #peers = new Set<string>()

  constructor({ history, values }: Pick<Storage, 'history' | 'values'>, limits: QueueLimits, log: Logger) {
    this.#history = history
    this.#values = values
    this.#limits = limits
    this.#log = log
  }

  /**
   * Keeps an action until `trim`, or until it is too old.
   *
   * @throws CallFailed `full`, `unavailable`: it is not kept, or nobody knows; TypeError when JSON cannot say it.
   */
  async append(peer: string, action: Kept['action']): Promise<void> {
    const { id, name, args, kwargs, at } = action
    const text = JSON.stringify({ id, name, args, kwargs, at })
    const bytes = Buffer.byteLength(text)
    if (!this.#peers.has(peer) && this.#peers.size >= this.#limits.maxPeers)
      throw new CallFailed('full', `this node keeps something for ${this.#limits.maxPeers} peers already`)
    this.#peers.add(peer)
    try {
      // Only what is left may be too much: what has become too old has to go first.
      if (!(await this.#reserve(peer, bytes))) {
        await this.#recount(peer)
        if (!(await this.#reserve(peer, bytes))) throw this.#full(peer)
      }
      await answerInTime(this.#history.append(logOf(peer), text))
    } catch (cause) {
      if (cause instanceof CallFailed) throw cause
      throw new CallFailed('unavailable', `nothing can be kept for peer ${JSON.stringify(peer)} now: ${cause}`)
    }
  }

  /** Up to `limit` of what is kept, oldest first, behind an entry. @throws (rejects) Error of the storage */
  async read(peer: string, after: string, limit: number): Promise<readonly Kept[]> {
    const entries = await answerInTime(this.#history.read(logOf(peer), { after, limit }))
    const kept: Kept[] = []
    const oldest = Date.now() - this.#limits.maxAgeMs
    let expired: Entry | undefined
    for (const entry of entries) {
      const found = keptIn(entry)
      if (entry.at >= oldest && found !== undefined) kept.push(found)
      else expired = entry
    }
    if (expired === undefined) return kept
    await this.#recount(peer)
    return kept.length > 0 ? kept : this.read(peer, expired.id, limit)
  }

  /** Forgets what is kept up to and with an entry: so many, of so many bytes. @throws (rejects) Error of the storage */
  async trim(peer: string, upTo: string, count: number, bytes: number): Promise<void> {
    await answerInTime(this.#history.trim(logOf(peer), upTo))
    await this.#release(peer, count, bytes)
  }

  /** Up to which entry the peer may have been sent all. @throws (rejects) Error of the storage */
  async sentUpTo(peer: string): Promise<string> {
    return (await answerInTime(this.#values.get(sentOf(peer)))) ?? ''
  }

  /** To be told before anything is sent. @throws (rejects) Error of the storage */
  async sending(peer: string, upTo: string): Promise<void> {
    const ttlMs = this.#limits.maxAgeMs * COUNT_LIVES
    await answerInTime(this.#values.set(sentOf(peer), upTo, { ttlMs }))
  }

  /** Drops what has become too old, and counts anew what is there. @throws (rejects) Error of the storage */
  async sweep(): Promise<void> {
    for (const peer of [...this.#peers]) await this.#recount(peer)
  }

  async #reserve(peer: string, bytes: number): Promise<boolean> {
    const { maxCount, maxBytes } = this.#limits
    const [count, sum] = await this.#add(peer, 1, bytes)
    if (count <= maxCount && sum <= maxBytes) return true
    await this.#release(peer, 1, bytes)
    return false
  }

  #release(peer: string, count: number, bytes: number): Promise<unknown> {
    return this.#add(peer, -count, -bytes)
  }

  #add(peer: string, count: number, bytes: number): Promise<[number, number]> {
    const ttlMs = this.#limits.maxAgeMs * COUNT_LIVES
    const sums: [Awaitable<number>, Awaitable<number>] = [
      this.#values.increment(countOf(peer), count, ttlMs),
      this.#values.increment(bytesOf(peer), bytes, ttlMs),
    ]
    return answerInTime(Promise.all(sums))
  }

  /** Whatever was lost on the way, a node that died between two steps: the counts are those of what is there. */
  async #recount(peer: string): Promise<void> {
    const entries = await answerInTime(this.#history.read(logOf(peer)))
    const oldest = Date.now() - this.#limits.maxAgeMs
    const left = entries.filter(({ at }) => at >= oldest)
    const expired = entries[entries.length - left.length - 1]
    if (expired !== undefined) {
      await answerInTime(this.#history.trim(logOf(peer), expired.id))
      const dropped = entries.length - left.length
      this.#log.warn({ peer, dropped }, 'actions kept for a peer are too old now, dropped')
    }
    const ttlMs = this.#limits.maxAgeMs * COUNT_LIVES
    const sum = left.reduce((bytes, { payload }) => bytes + Buffer.byteLength(payload), 0)
    const set = [
      this.#values.set(countOf(peer), String(left.length), { ttlMs }),
      this.#values.set(bytesOf(peer), String(sum), { ttlMs }),
    ]
    await answerInTime(Promise.all(set))
    if (left.length === 0) this.#peers.delete(peer)
  }

  #full(peer: string): CallFailed {
    const { maxCount, maxBytes } = this.#limits
    const most = `${maxCount} actions or ${maxBytes} bytes`
    return new CallFailed('full', `${most} are kept for peer ${JSON.stringify(peer)}, that is --messaging-queue`)
  }
}

/** `undefined`: nothing of ours. */
function keptIn({ id: entry, at, payload }: Entry): Kept | undefined {
  try {
    const text = String(payload)
    return { entry, at, bytes: Buffer.byteLength(text), action: { type: 'message', ...JSON.parse(text) } }
  } catch {
    return undefined
  }
}

function logOf(peer: string): string {
  return `messaging:queue:${peer}`
}

function countOf(peer: string): string {
  return `messaging:queued:${peer}`
}

function bytesOf(peer: string): string {
  return `messaging:queued-bytes:${peer}`
}

function sentOf(peer: string): string {
  return `messaging:sent:${peer}`
}
