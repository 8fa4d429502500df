import type {
  Announcement,
  Append,
  Appender,
  AppendOutcome,
  Awaitable,
  Position,
  ReadRange,
  StreamEntry,
  StreamListener,
  StreamPage,
  StreamRef,
  Streams,
} from 'filtered-websocket'
import { inSlices } from 'filtered-websocket/kit'
import { MemoryStream, type Usage } from './stream.ts'

/** Milliseconds between two sweeps of expired entries. */
const SWEEP_EVERY = 1000

export interface MemoryStreamsLimits {
  /** Bytes of all streams together. */
  readonly bytes: number
  readonly topics: number
}

/**
 * Streams of one process. Announces within `append`. When it is full it deletes the stream without an append for the longest time, an
 * empty one first; if that topic is used again, it has another epoch. Queues, streams that refuse entries and have some, are not
 * deleted: further entries are refused when they fill the memory. Topics that are listened to do not count: their listeners take more
 * memory than the streams.
 */
export class MemoryStreams implements Streams {
  readonly isImmediate = true
  readonly #limits: MemoryStreamsLimits
  readonly #streams = new Map<string, MemoryStream>()
  /** Streams that have had no entry. */
  readonly #empty = new Set<MemoryStream>()
  readonly #listening = new Set<string>()
  #listener: StreamListener | undefined
  readonly #usage: Usage = { bytes: 0, queued: 0, evictable: new Set() }
  #evicted = 0
  /** The stream of the last append. */
  #newest: MemoryStream | undefined
  /** Announcements in order, also if the listener appends. */
  #announcements: Announcement[] = []
  #isAnnouncing = false
  #timer: NodeJS.Timeout | undefined
  #isSweeping = false

  constructor(limits: MemoryStreamsLimits) {
    this.#limits = limits
  }

  start(listener: StreamListener): void {
    this.#listener = listener
  }

  isReady(): boolean {
    return true
  }

  metrics(): Readonly<Record<string, number>> {
    return {
      streams_topics: this.#streams.size,
      streams_bytes: this.#usage.bytes,
      streams_evicted_total: this.#evicted,
    }
  }

  append(ref: StreamRef, appends: readonly Append[], appender: Appender): Awaitable<readonly AppendOutcome[]> {
    const stream = this.#use(ref)
    try {
      const earlier = stream.outcomesOf(appender)
      if (earlier !== undefined) return earlier
    } catch (error) {
      return Promise.reject(error)
    }
    const { known } = appender
    const hasLost = known !== undefined && known.epoch === stream.top.epoch && known.offset > stream.top.offset
    if (hasLost) stream.begin()
    const origin = `${appender.node}/${appender.call}`
    const appended: StreamEntry[] = []
    this.#empty.delete(stream)
    const outcomes = appends.map(append => stream.append(append, origin, this.#roomOf(stream), appended))
    stream.record(appender, outcomes)
    this.#becomesNewest(stream)
    this.#evict()
    const isChanged = hasLost || appended.length > 0 || appends.some(({ set }) => set !== undefined)
    if (isChanged) this.#announce({ topic: ref.topic, top: stream.top, entries: appended })
    return outcomes
  }

  read(ref: StreamRef, range: ReadRange): StreamPage {
    return this.#use(ref).read(range)
  }

  tops(refs: readonly StreamRef[]): readonly Position[] {
    return refs.map(ref => this.#use(ref).top)
  }

  trim(ref: StreamRef, upTo: Position): void {
    this.#use(ref).trim(upTo)
  }

  remove(topic: string): void {
    const stream = this.#streams.get(topic)
    if (stream === undefined) return
    stream.begin()
    this.#announce({ topic, top: stream.top, entries: [] })
  }

  listen(topic: string): void {
    this.#listening.add(topic)
  }

  ignore(topic: string): void {
    this.#listening.delete(topic)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    for (const stream of this.#streams.values()) stream.release()
    this.#streams.clear()
    this.#empty.clear()
  }

  #use(ref: StreamRef): MemoryStream {
    const stream = this.#streams.get(ref.topic) ?? this.#create(ref)
    return stream.use(ref.bounds)
  }

  #create({ topic, bounds }: StreamRef): MemoryStream {
    this.#timer ??= setInterval(() => void this.#sweep(), SWEEP_EVERY).unref()
    const stream = new MemoryStream(topic, bounds, this.#usage)
    this.#streams.set(topic, stream)
    this.#empty.add(stream)
    this.#evict(stream)
    return stream
  }

  /** Bytes for further entries of a stream with `refuse`, if all that is not a queue is deleted. */
  #roomOf(stream: MemoryStream): number {
    const { bytes, topics } = this.#limits
    const { queued, evictable } = this.#usage
    if (stream.isQueue) return bytes - queued
    const queues = this.#streams.size - evictable.size
    return queues < topics + this.#listening.size ? bytes - queued - stream.bytes : 0
  }

  #becomesNewest(stream: MemoryStream): void {
    if (stream === this.#newest) return
    if (this.#usage.evictable.delete(stream)) this.#usage.evictable.add(stream)
    this.#newest = stream
  }

  /** Evicts other streams before entries of the newest one. @param used - MUST stay: it is in use. */
  #evict(used = this.#newest): void {
    while (this.#isFull) {
      const evicted = this.#firstOf(this.#empty, used) ?? this.#firstOf(this.#usage.evictable, used)
      if (evicted === undefined) break
      this.#delete(evicted)
      this.#evicted++
    }
    // Only streams with listeners are left.
    for (const stream of this.#usage.evictable) {
      if (this.#usage.bytes <= this.#limits.bytes) break
      if (stream === this.#newest || this.#empty.has(stream)) continue
      stream.begin()
      this.#empty.add(stream)
      this.#evicted++
      this.#announce({ topic: stream.topic, top: stream.top, entries: [] })
    }
    const newest = this.#newest
    const shrinks = () => (newest?.isQueue === false && newest.drop()) || newest?.dropKey()
    while (this.#usage.bytes > this.#limits.bytes && shrinks()) {}
  }

  get #isFull(): boolean {
    const topics = this.#streams.size - this.#listening.size
    return topics > this.#limits.topics || this.#usage.bytes > this.#limits.bytes
  }

  /** The first stream that is neither listened to nor in use. */
  #firstOf(streams: Iterable<MemoryStream>, used: MemoryStream | undefined): MemoryStream | undefined {
    for (const stream of streams)
      if (stream !== used && stream !== this.#newest && !this.#listening.has(stream.topic)) return stream
    return undefined
  }

  #delete(stream: MemoryStream): void {
    this.#empty.delete(stream)
    this.#streams.delete(stream.topic)
    stream.release()
    if (stream === this.#newest) this.#newest = undefined
  }

  async #sweep(): Promise<void> {
    if (this.#isSweeping) return
    this.#isSweeping = true
    await inSlices(this.#streams.values(), stream => {
      if (stream.isUnused) this.#delete(stream)
      else stream.sweep()
    })
    this.#isSweeping = false
    if (this.#streams.size === 0) this.close()
  }

  #announce(announcement: Announcement): void {
    if (!this.#listening.has(announcement.topic)) return
    this.#announcements.push(announcement)
    if (this.#isAnnouncing) return
    this.#isAnnouncing = true
    try {
      for (const next of this.#announcements) this.#listener?.announced(next)
    } finally {
      this.#announcements = []
      this.#isAnnouncing = false
    }
  }
}
