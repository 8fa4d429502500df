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
 * Streams of one process. Announces within `append`. When it is full it deletes the stream without an append for the longest time;
 * if that topic is used again, it has another epoch.
 */
export class MemoryStreams implements Streams {
  readonly #limits: MemoryStreamsLimits
  /** By topic, in the order of their last appends. */
  readonly #streams = new Map<string, MemoryStream>()
  readonly #listening = new Set<string>()
  #listener: StreamListener | undefined
  readonly #usage: Usage = { bytes: 0 }
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
    const room = this.#limits.bytes - stream.bytes
    const appended: StreamEntry[] = []
    const outcomes = appends.map(append => stream.append(append, origin, room, appended))
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
    this.#streams.clear()
    this.#usage.bytes = 0
  }

  #use(ref: StreamRef): MemoryStream {
    const stream = this.#streams.get(ref.topic) ?? this.#create(ref)
    return stream.use(ref.bounds)
  }

  #create({ topic, bounds }: StreamRef): MemoryStream {
    this.#timer ??= setInterval(() => void this.#sweep(), SWEEP_EVERY).unref()
    const stream = new MemoryStream(topic, bounds, this.#usage)
    this.#streams.set(topic, stream)
    this.#newest = stream
    this.#evict()
    return stream
  }

  #becomesNewest(stream: MemoryStream): void {
    if (stream === this.#newest) return
    this.#streams.delete(stream.topic)
    this.#streams.set(stream.topic, stream)
    this.#newest = stream
  }

  /** Evicts other streams before entries of the newest one. */
  #evict(): void {
    while (this.#streams.size > this.#limits.topics || this.#usage.bytes > this.#limits.bytes) {
      const [oldest] = this.#streams.values()
      if (oldest === undefined || oldest === this.#newest) break
      this.#delete(oldest)
      this.#evicted++
    }
    const newest = this.#newest
    while (newest !== undefined && this.#usage.bytes > this.#limits.bytes && (newest.drop() || newest.dropKey())) {}
  }

  #delete(stream: MemoryStream): void {
    this.#streams.delete(stream.topic)
    this.#usage.bytes -= stream.bytes
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
