import type {
  Append,
  Appender,
  AppendOutcome,
  Attributes,
  LostReason,
  NewEntry,
  Position,
  ReadRange,
  StreamBounds,
  StreamEntry,
  StreamPage,
} from 'filtered-websocket'
import { BoundedMap, copyBytes, newEpoch } from 'filtered-websocket/kit'

/** Milliseconds that an idempotency key is kept. */
const KEY_MS = 600_000
/** Nodes whose last call is kept. */
const MAX_NODES = 256
/** Milliseconds that an unused stream is kept, at least. */
const MIN_LIFETIME = 3_600_000
/** Entries that a sweep drops, so that it does not block the process. */
const MAX_SWEPT = 10_000

/** Memory in addition to the content, as measured: a stream, an entry, a key or attribute, an outcome of a call. */
const STREAM_BYTES = 1024
const ENTRY_BYTES = 256
const FIELD_BYTES = 96
const OUTCOME_BYTES = 128

interface Call {
  readonly call: number
  readonly outcomes: readonly AppendOutcome[]
}

/** What several streams hold together. */
export interface Usage {
  bytes: number
  /** Bytes of queues. */
  queued: number
  /** All streams but queues, in the order of their last appends. */
  readonly evictable: Set<MemoryStream>
}

/** One stream: its entries, attributes, idempotency keys and the last call of each node. */
export class MemoryStream {
  readonly topic: string
  bounds: StreamBounds
  /** Bytes that the stream holds. */
  bytes = 0
  /** Whether it refuses entries when it is full, and has some: these are never deleted for others. */
  isQueue = false
  readonly #usage: Usage
  #epoch = newEpoch()
  #top = 0
  #usedAt = Date.now()
  /** The entries and their bytes, from `#start` on. */
  #entries: (StreamEntry | undefined)[] = []
  #sizes: number[] = []
  #start = 0
  /** Bytes of the payloads. */
  #payloads = 0
  readonly #attributes = new Map<string, string>()
  /** Oldest first. */
  readonly #keys = new Map<string, { readonly position: Position; readonly until: number }>()
  readonly #calls = new BoundedMap<string, Call>(MAX_NODES, ({ outcomes }) => this.#add(-callBytes(outcomes)))

  constructor(topic: string, bounds: StreamBounds, usage: Usage) {
    this.topic = topic
    this.bounds = bounds
    this.#usage = usage
    this.#add(STREAM_BYTES + 2 * topic.length)
    usage.evictable.add(this)
  }

  get top(): Position {
    return { epoch: this.#epoch, offset: this.#top }
  }

  /** Whether the stream was not used for so long that it may be deleted. */
  get isUnused(): boolean {
    return Date.now() - this.#usedAt > Math.max(MIN_LIFETIME, 10 * this.bounds.ttlMs)
  }

  /** Prepares the stream for an operation with these bounds. */
  use(bounds: StreamBounds): this {
    this.bounds = bounds
    this.#usedAt = Date.now()
    this.#expire(Number.POSITIVE_INFINITY)
    this.#mark()
    return this
  }

  /** Ends its part of the usage. */
  release(): void {
    this.#clear()
    this.#add(-this.bytes)
    this.#usage.evictable.delete(this)
  }

  /** Drops a bounded number of expired entries. */
  sweep(): void {
    this.#expire(MAX_SWEPT)
  }

  /** The outcomes of an earlier call with this number. @throws RangeError if the node has made a later call. */
  outcomesOf({ node, call }: Appender): readonly AppendOutcome[] | undefined {
    const last = this.#calls.get(node)
    if (last === undefined || call > last.call) return undefined
    if (call === last.call) return last.outcomes
    throw new RangeError(`append number ${call} comes after number ${last.call} of the same node`)
  }

  record({ node, call }: Appender, outcomes: readonly AppendOutcome[]): void {
    const last = this.#calls.get(node)
    this.#add(callBytes(outcomes) - (last === undefined ? 0 : callBytes(last.outcomes)))
    this.#calls.set(node, { call, outcomes })
  }

  /** Begins an epoch without entries, attributes and keys. The calls of the nodes stay. */
  begin(): void {
    this.#epoch = newEpoch()
    this.#top = 0
    this.#clear()
    while (this.dropKey()) {}
    for (const name of [...this.#attributes.keys()]) this.#setAttribute(name, null)
  }

  /**
   * @param room - bytes for new entries in the storage if `full` is `refuse`.
   * @param appended - receives the new entries.
   */
  append({ entries, when, set, key }: Append, origin: string, room: number, appended: StreamEntry[]): AppendOutcome {
    const earlier = key === undefined ? undefined : this.#keys.get(key)
    if (earlier !== undefined) return { position: earlier.position, repeated: true }
    if (when !== undefined && !this.#has(when)) return this.#refusal('attributes', when)
    const copies = entries.map(copyOf)
    if (this.bounds.full === 'refuse' && !this.#hasRoom(copies, room)) return this.#refusal('full', when)
    const at = Date.now()
    for (const [payload, bytes, { format, except }] of copies) {
      const entry: { -readonly [K in keyof StreamEntry]: StreamEntry[K] } = { offset: ++this.#top, at, origin, payload }
      if (format !== undefined) entry.format = format
      if (except !== undefined) entry.except = except
      this.#entries.push(entry)
      this.#sizes.push(bytes)
      this.#payloads += bytes
      this.#add(ENTRY_BYTES + bytes)
      appended.push(entry)
    }
    if (this.bounds.full === 'trim') while (this.#exceedsBounds(0, 0)) this.drop()
    this.#mark()
    for (const [name, value] of Object.entries(set ?? {})) this.#setAttribute(name, value)
    const position = this.top
    if (key !== undefined) {
      this.#keys.set(key, { position, until: at + KEY_MS })
      this.#add(FIELD_BYTES + 2 * key.length)
    }
    return { position, repeated: false }
  }

  read(range: ReadRange): StreamPage {
    const lost = 'after' in range ? this.#lostBehind(range.after) : undefined
    return {
      entries: lost === undefined ? this.#entriesIn(range) : [],
      top: this.top,
      floor: { epoch: this.#epoch, offset: this.#floor },
      attributes: this.#allAttributes,
      ...(lost !== undefined && { lost }),
    }
  }

  trim({ epoch, offset }: Position): void {
    if (epoch !== this.#epoch) return
    while (this.#floor < offset && this.drop()) {}
  }

  /** Drops the oldest entry; returns whether there was one. */
  drop(): boolean {
    if (this.#length === 0) return false
    const bytes = this.#sizes[this.#start]!
    this.#payloads -= bytes
    this.#add(-ENTRY_BYTES - bytes)
    this.#entries[this.#start++] = undefined
    this.#mark()
    // Half of the array at once, so that not every drop shifts it.
    if (this.#start > 32 && this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start)
      this.#sizes = this.#sizes.slice(this.#start)
      this.#start = 0
    }
    return true
  }

  /** Drops the oldest key; returns whether there was one. */
  dropKey(): boolean {
    for (const key of this.#keys.keys()) {
      this.#keys.delete(key)
      this.#add(-FIELD_BYTES - 2 * key.length)
      return true
    }
    return false
  }

  #add(bytes: number): void {
    this.bytes += bytes
    this.#usage.bytes += bytes
    if (this.isQueue) this.#usage.queued += bytes
  }

  /** Called when the bounds or the number of entries have changed. */
  #mark(): void {
    const isQueue = this.bounds.full === 'refuse' && this.#length > 0
    if (isQueue === this.isQueue) return
    this.isQueue = isQueue
    this.#usage.queued += isQueue ? this.bytes : -this.bytes
    if (isQueue) this.#usage.evictable.delete(this)
    else this.#usage.evictable.add(this)
  }

  get #length(): number {
    return this.#entries.length - this.#start
  }

  get #floor(): number {
    return this.#top - this.#length
  }

  get #allAttributes(): Attributes {
    return Object.fromEntries(this.#attributes)
  }

  #expire(max: number): void {
    const now = Date.now()
    const oldest = now - this.bounds.ttlMs
    const newest = this.#entries.at(-1)
    if (newest !== undefined && newest.at <= oldest) this.#clear()
    for (let n = 0; n < max && this.#length > 0 && this.#entries[this.#start]!.at <= oldest; n++) this.drop()
    for (const { until } of this.#keys.values()) {
      if (until > now) break
      this.dropKey()
    }
  }

  #clear(): void {
    this.#add(-ENTRY_BYTES * this.#length - this.#payloads)
    this.#entries = []
    this.#sizes = []
    this.#start = 0
    this.#payloads = 0
    this.#mark()
  }

  #hasRoom(copies: readonly Copy[], room: number): boolean {
    const { length } = copies
    const bytes = copies.reduce((sum, [, size]) => sum + size, 0)
    return length === 0 || (!this.#exceedsBounds(length, bytes) && ENTRY_BYTES * length + bytes <= room)
  }

  #exceedsBounds(entries: number, payloads: number): boolean {
    const { size, bytes = Number.POSITIVE_INFINITY } = this.bounds
    return this.#length + entries > size || this.#payloads + payloads > bytes
  }

  #has(when: NonNullable<Append['when']>): boolean {
    return Object.entries(when).every(([name, value]) => (this.#attributes.get(name) ?? null) === value)
  }

  #setAttribute(name: string, value: string | null): void {
    const before = this.#attributes.get(name)
    if (before !== undefined) this.#add(-FIELD_BYTES - 2 * (name.length + before.length))
    if (value === null) this.#attributes.delete(name)
    else {
      this.#attributes.set(name, value)
      this.#add(FIELD_BYTES + 2 * (name.length + value.length))
    }
  }

  #refusal(refused: 'full' | 'attributes', when: Append['when'] = {}): AppendOutcome {
    const named = Object.keys(when).filter(name => this.#attributes.has(name))
    const attributes = Object.fromEntries(named.map(name => [name, this.#attributes.get(name)!]))
    return { refused, attributes, top: this.top }
  }

  #lostBehind({ epoch, offset }: Position): LostReason | undefined {
    if (epoch !== this.#epoch) return 'epoch'
    if (offset > this.#top) return 'ahead'
    return offset < this.#floor ? 'trimmed' : undefined
  }

  #entriesIn(range: ReadRange): readonly StreamEntry[] {
    if ('after' in range) return this.#slice(range.after.offset, range.entries, range.bytes)
    if (range.from === 'oldest') return this.#slice(this.#floor, range.entries, range.bytes)
    let first = this.#entries.length
    let { entries, bytes } = range
    while (first > this.#start && entries-- > 0) {
      bytes -= this.#sizes[first - 1]!
      if (bytes < 0 && first < this.#entries.length) break
      first--
    }
    return this.#entries.slice(first) as StreamEntry[]
  }

  /** Entries behind an offset that is not below the floor. */
  #slice(after: number, entries: number, bytes: number): readonly StreamEntry[] {
    const first = this.#start + after - this.#floor
    const end = Math.min(this.#entries.length, first + entries)
    let left = bytes
    for (let i = first; i < end; i++) {
      left -= this.#sizes[i]!
      if (left < 0 && i > first) return this.#entries.slice(first, i) as StreamEntry[]
    }
    return this.#entries.slice(first, end) as StreamEntry[]
  }
}

type Copy = readonly [payload: string | Buffer, bytes: number, entry: NewEntry]

/** A payload that shares no memory: the sender may use its Buffer again, and a part of a string keeps the whole string alive. */
function copyOf(entry: NewEntry): Copy {
  const { payload } = entry
  if (typeof payload === 'string') {
    const utf8 = Buffer.from(payload)
    return [utf8.toString(), utf8.length, entry]
  }
  return [copyBytes(payload), payload.length, entry]
}

function callBytes(outcomes: readonly AppendOutcome[]): number {
  return FIELD_BYTES + OUTCOME_BYTES * outcomes.length
}
