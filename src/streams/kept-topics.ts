import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Awaitable } from '../contract/deadline.ts'
import { messageOf } from '../contract/errors.ts'
import type { StreamTotals } from '../contract/metrics.ts'
import type {
  Announcement,
  Append,
  AppendOutcome,
  KeptTopic,
  LossReason,
  Position,
  ReadRange,
  Retention,
  StreamEntry,
  StreamPage,
  Streams,
  TopicWatcher,
} from '../contract/streams.ts'
import { count } from '../fanout/counters.ts'
import { BoundedMap } from '../kit/bounded-map.ts'
import { Limiter } from '../kit/limiter.ts'
import { Appends } from './appends.ts'
import { Follower, type Joiner } from './follower.ts'
import { TailBudget } from './tail.ts'
import { Watchers } from './watchers.ts'

/** Answers of `retain` handlers that are remembered. */
const MAX_ANSWERS = 10_000
/** Topics that are read at a time. */
const MAX_READS = 16
/** Milliseconds between two comparisons of tops: of topics with an entry in the last minute, and of all topics. */
const CHECK_MS = 2000
const CHECK_ALL = 15
const ACTIVE_MS = 60_000
/** Topics in one comparison. */
const SLICE = 1000
/** Milliseconds that an order to disconnect, or a stop, waits for the entries before it. */
const SETTLE_MS = 1000
/** Bytes of entries that wait for the storage. */
const MAX_WAITING_BYTES = 67_108_864

/** Defaults of a retention. */
const WAIT_MS = 15_000
const RECOVER_BYTES = 4_194_304

export interface KeptTopicsHost {
  readonly streams: Streams
  /** UUID of this node. */
  readonly instance: string
  readonly totals: StreamTotals
  readonly drops: Record<string, number>
  readonly log: Logger
  /** The answer of the `retain` handlers. */
  retain(topic: string): Retention | undefined
  /** Delivers to the members on this node; `undefined`: the storage is away, and the entry has no position. */
  deliver(
    topic: string,
    entry: Pick<StreamEntry, 'payload' | 'format' | 'except'>,
    position: Position | undefined,
  ): void
  lose(topic: string, position: Position, reason: LossReason): void
  /** Whether a topic has members on this node. */
  hasMembers(topic: string): boolean
}

/** The topics that are kept, as one node sees them. */
export class KeptTopics {
  readonly #host: KeptTopicsHost
  readonly #answers = new BoundedMap<string, KeptTopic | undefined>(MAX_ANSWERS)
  readonly #followers = new Map<string, Follower>()
  readonly #reads = new Limiter({ max: MAX_READS })
  readonly #budget = new TailBudget()
  readonly #appends: Appends
  readonly #watchers: Watchers
  /** Topics that need a new epoch: entries have reached clients of this node alone. */
  readonly #renewing = new Set<string>()
  readonly #underWay = new Set<Promise<unknown>>()
  /** Settles with all of `#underWay`. */
  #settled: Promise<unknown> | undefined
  #timer: NodeJS.Timeout | undefined
  #checks = 0

  constructor(host: KeptTopicsHost) {
    this.#host = host
    this.#watchers = new Watchers(host.log)
    this.#appends = new Appends({
      ...host,
      maxBytes: MAX_WAITING_BYTES,
      cursorOf: topic => this.#followers.get(topic)?.cursor,
    })
  }

  start(): void {
    this.#host.streams.start({
      announced: announcement => this.#announced(announcement),
      interrupted: topics => this.#interrupted(topics),
    })
    this.#timer = setInterval(() => {
      const isForAll = ++this.#checks % CHECK_ALL === 0
      void this.check(isForAll ? Number.POSITIVE_INFINITY : ACTIVE_MS)
    }, CHECK_MS)
    this.#timer.unref()
  }

  /**
   * Compares the tops of topics with the entries that were delivered, and reads those that differ.
   *
   * @param activeMs - topics with an entry in these last milliseconds. Default: all.
   */
  check(activeMs = Number.POSITIVE_INFINITY): Promise<void> {
    const since = performance.now() - activeMs
    return this.#check([...this.#followers.values()].filter(({ activeAt }) => activeAt > since))
  }

  /** Stops once the entries that are on their way are stored, after a second in any case. */
  async close(): Promise<void> {
    await this.settled()
    this.stop()
  }

  /** Ends the reads, and refuses the entries that wait for the storage. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#appends.stop()
    for (const follower of this.#followers.values()) follower.stop()
    this.#followers.clear()
    this.#watchers.clear()
  }

  /** `undefined` if the topic is not kept. Asks the handlers once a topic. */
  of(topic: string): KeptTopic | undefined {
    const known = this.#answers.get(topic)
    if (known !== undefined || this.#answers.has(topic)) return known
    const bounds = this.#host.retain(topic)
    const kept = bounds === undefined ? undefined : keptOf(topic, bounds)
    this.#answers.set(topic, kept)
    return kept
  }

  /** Gauges by names such as `waiting_bytes`. */
  gauges(): Readonly<Record<string, number>> {
    return { waiting_bytes: this.#appends.bytes, tail_bytes: this.#budget.bytes, followed: this.#followers.size }
  }

  /** Appends an entry whose caller does not wait; a failure is counted. */
  broadcast(kept: KeptTopic, entry: Append['entries'][number]): void {
    this.append(kept, { entries: [entry] }).then(
      outcome => {
        if ('refused' in outcome) count(this.#host.drops, `stream ${outcome.refused}`)
      },
      error => {
        count(this.#host.drops, 'not appended')
        this.#host.log.debug({ topic: kept.topic, reason: messageOf(error) }, 'broadcast is not appended')
      },
    )
  }

  /**
   * Settles when the entries are stored, and delivered on this node.
   *
   * @throws (rejects) FwsError `ERR_LIMIT` or `ERR_STORAGE`; see `Appends`.
   */
  append(kept: KeptTopic, append: Append): Promise<AppendOutcome> {
    try {
      const outcome = this.#appends.appendNow(kept, append)
      if (outcome !== undefined && !this.#followers.has(kept.topic)) return Promise.resolve(outcome)
      return this.#track(this.#reach(kept, outcome ?? this.#appendOrDeliver(kept, append)))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #track(appended: Promise<AppendOutcome>): Promise<AppendOutcome> {
    this.#underWay.add(appended)
    this.#settled = undefined
    const end = () => this.#underWay.delete(appended)
    appended.then(end, end)
    return appended
  }

  /**
   * Settles when all entries so far are stored and delivered, or refused; `undefined`: none is under way.
   *
   * @param ms - settles after this time in any case. Default: 1 s.
   */
  settled(ms = SETTLE_MS): Promise<unknown> | undefined {
    if (this.#underWay.size === 0) return undefined
    // One for many callers.
    this.#settled ??= Promise.allSettled(this.#underWay)
    return Promise.race([this.#settled, sleep(ms, undefined, { ref: false })])
  }

  async read(kept: KeptTopic, range: ReadRange): Promise<StreamPage> {
    this.#host.totals.reads++
    return this.#host.streams.read(kept, range)
  }

  async trim(kept: KeptTopic, upTo: Position): Promise<void> {
    await this.#host.streams.trim(kept, upTo)
  }

  /** The position up to which the members on this node have the entries. */
  positionOf(topic: string): Position | undefined {
    return this.#followers.get(topic)?.cursor
  }

  join(kept: KeptTopic, joiner: Joiner): void {
    this.#follow(kept).join(joiner)
  }

  cancel(topic: string, joiner: Joiner): void {
    this.#followers.get(topic)?.cancel(joiner)
    this.release(topic)
  }

  /** Watches a topic without a client; the result ends that. */
  watch(kept: KeptTopic, watcher: TopicWatcher): () => void {
    const watch = this.#watchers.add(kept.topic, watcher)
    // Before its first read a follower calls `followed` later.
    if (this.#follow(kept).cursor !== undefined) this.#watchers.notify(watch)
    return () => {
      this.#watchers.remove(watch)
      this.release(kept.topic)
    }
  }

  /** Called when a member or a watcher has left: a topic without both is not followed. */
  release(topic: string): void {
    const follower = this.#followers.get(topic)
    if (follower === undefined || follower.isAwaited) return
    if (this.#host.hasMembers(topic) || this.#watchers.has(topic)) return
    this.#followers.delete(topic)
    follower.stop()
    this.#host.streams.ignore(topic)
  }

  #follow(kept: KeptTopic): Follower {
    let follower = this.#followers.get(kept.topic)
    if (follower === undefined) {
      follower = new Follower(kept, {
        ...this.#host,
        reads: this.#reads,
        budget: this.#budget,
        deliver: (topic, entry, epoch) => {
          const position = { epoch, offset: entry.offset }
          this.#host.deliver(topic, entry, position)
          this.#watchers.entry(topic, entry, position)
          this.#watchers.changed(topic)
        },
        lose: (topic, position, reason) => {
          this.#host.lose(topic, position, reason)
          this.#watchers.lost(topic, position, reason)
          this.#watchers.changed(topic)
        },
        followed: topic => this.#watchers.changed(topic),
        fence: (topic, known) => this.#appends.fence(topic, known),
      })
      this.#followers.set(kept.topic, follower)
    }
    return follower
  }

  #appendOrDeliver(kept: KeptTopic, append: Append): Promise<AppendOutcome> {
    return this.#appends.append(kept, append).catch(error => {
      if (kept.bounds.away !== 'live' || error.code !== 'ERR_STORAGE') throw error
      return this.#deliverLive(kept, append)
    })
  }

  /** Settles when the members on this node have the entries. */
  async #reach(kept: KeptTopic, appended: Awaitable<AppendOutcome>): Promise<AppendOutcome> {
    const outcome = await appended
    const position = 'position' in outcome ? outcome.position : undefined
    if (position !== undefined) await this.#followers.get(kept.topic)?.reached(position)
    this.release(kept.topic)
    return outcome
  }

  #announced(announcement: Announcement): void {
    this.#followers.get(announcement.topic)?.announced(announcement)
    this.#watchers.changed(announcement.topic)
  }

  #interrupted(topics: readonly string[] | undefined): void {
    const names = topics ?? [...this.#followers.keys()]
    for (const topic of names) this.#watchers.changed(topic)
    void this.#check(names.flatMap(topic => this.#followers.get(topic) ?? []))
  }

  /** Compares the tops of topics with their cursors. */
  async #check(followers: readonly Follower[]): Promise<void> {
    for (let at = 0; at < followers.length; at += SLICE) {
      const slice = followers.slice(at, at + SLICE).flatMap(follower => {
        const { cursor, kept } = follower
        return cursor === undefined ? [] : [{ follower, cursor, kept }]
      })
      try {
        const tops = await this.#host.streams.tops(slice.map(({ kept }) => kept))
        for (const [i, { follower, cursor }] of slice.entries()) follower.compare(tops[i]!, cursor)
      } catch {
        // Each is read once the storage answers.
        for (const { follower } of slice) follower.heal()
      }
    }
  }

  /** The entries reach the clients of this node, and all clients learn later that they may have missed some. */
  #deliverLive(kept: KeptTopic, { entries }: Append): AppendOutcome {
    const position = this.positionOf(kept.topic) ?? { epoch: '', offset: 0 }
    for (const entry of entries) this.#host.deliver(kept.topic, entry, undefined)
    if (!this.#renewing.has(kept.topic)) {
      this.#renewing.add(kept.topic)
      void this.#renew(kept)
    }
    return { position, repeated: false }
  }

  async #renew(kept: KeptTopic): Promise<void> {
    while (this.#timer !== undefined) {
      try {
        const [top] = await this.#host.streams.tops([kept])
        await this.#appends.fence(kept, { epoch: top!.epoch, offset: Number.MAX_SAFE_INTEGER })
        break
      } catch {
        await sleep(CHECK_MS / 4, undefined, { ref: false })
      }
    }
    this.#renewing.delete(kept.topic)
  }
}

function keptOf(topic: string, bounds: Retention): KeptTopic {
  const { bytes = Number.POSITIVE_INFINITY, away = 'wait', waitMs = WAIT_MS, recoverBytes = RECOVER_BYTES } = bounds
  return { topic, bounds: { ...bounds, bytes, away, waitMs, recoverBytes } }
}
