import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { StreamTotals } from '../contract/metrics.ts'
import {
  type Announcement,
  type Joined,
  type KeptTopic,
  type LossReason,
  MAX_APPEND_BYTES,
  MAX_APPEND_ENTRIES,
  type Position,
  type ReadRange,
  type StreamEntry,
  type StreamPage,
  type Streams,
} from '../contract/streams.ts'
import { count } from '../fanout/counters.ts'
import type { Limiter } from '../kit/limiter.ts'
import { sizeOf, Tail, type TailBudget } from './tail.ts'

/** Entries and bytes of one read. */
const PAGE = { entries: MAX_APPEND_ENTRIES, bytes: MAX_APPEND_BYTES }
/** Milliseconds that an announcement may come after the answer to the append. */
const ANNOUNCE_MS = 20
/** Milliseconds until a caller whose entry is stored is answered in any case. */
const REACH_MS = 1000
const MAX_PAUSE_MS = 2000

/** A client that waits to become a member at a position. */
export interface Joiner {
  readonly after: 'now' | 'earliest' | Position
  /** Called once, in the turn from which on it gets what is delivered. MUST NOT throw. */
  joined(joined: Joined): void
}

export interface FollowerHost {
  readonly streams: Streams
  readonly totals: StreamTotals
  readonly log: Logger
  /** Limits the reads of all topics. */
  readonly reads: Limiter
  readonly budget: TailBudget
  /** Delivers to the members on this node. */
  deliver(topic: string, entry: StreamEntry, epoch: string): void
  /** Informs the members: entries between their last one and this position are lost to them. */
  lose(topic: string, position: Position, reason: LossReason): void
  /** Has the storage, which may have lost entries, compare its top with a position that this node knows. */
  fence(kept: KeptTopic, known: Position): Promise<unknown>
}

interface Waiting {
  readonly joiner: Joiner
  /** Number of the last read behind the cursor that was begun before it came. */
  readonly since: number
}

/**
 * Delivers one topic on this node, in the order of the offsets and without holes.
 *
 * It has a cursor: the position of the last entry that it delivered. An announcement that follows the cursor is delivered, one
 * behind it is ignored. Any other only causes a read behind the cursor, one at a time: entries that come meanwhile are not queued, since
 * they are in the stream.
 */
export class Follower {
  readonly kept: KeptTopic
  /** Time of the last announcement, in milliseconds. */
  announcedAt = performance.now()
  readonly #host: FollowerHost
  readonly #tail: Tail
  #cursor: Position | undefined
  #waiting: Waiting[] = []
  /** Callers whose entries are stored, and not delivered yet. */
  #reaching: { readonly position: Position; readonly resolve: () => void; readonly since: number }[] = []
  #timer: NodeJS.Timeout | undefined
  #heals = 0
  #needsHeal = false
  /** The storage has other entries at offsets that were delivered: it has lost those. */
  #hasForked = false
  #isRunning = false
  #isStopped = false

  constructor(kept: KeptTopic, host: FollowerHost) {
    this.kept = kept
    this.#host = host
    this.#tail = new Tail(host.budget)
    this.#wake()
  }

  /** `undefined` until the first read. */
  get cursor(): Position | undefined {
    return this.#cursor
  }

  get isAwaited(): boolean {
    return this.#waiting.length > 0 || this.#reaching.length > 0
  }

  announced({ top, entries }: Announcement): void {
    this.announcedAt = performance.now()
    const cursor = this.#cursor
    // The first read comes after the subscription.
    if (cursor === undefined) return
    const [first] = entries
    if (top.epoch !== cursor.epoch || this.#isForked(entries)) this.heal()
    else if (first?.offset === cursor.offset + 1) this.#advance(entries)
    else if (top.offset > cursor.offset) this.heal()
  }

  /** Reads behind the cursor: announcements may be missing. */
  heal(): void {
    this.#needsHeal = true
    this.#wake()
  }

  /** The top of the stream, as read when the cursor was at `cursor`. */
  compare(top: Position, cursor: Position): void {
    if (top.epoch !== cursor.epoch || top.offset < cursor.offset || top.offset > this.#cursor!.offset) this.heal()
  }

  join(joiner: Joiner): void {
    const waiting = { joiner, since: this.#heals }
    if (this.#cursor !== undefined && this.#answer(waiting)) return
    this.#waiting.push(waiting)
    // Behind the cursor the stream is read for the joiner alone.
    if (joiner.after !== 'earliest' && !this.#isBehind(joiner.after)) this.#needsHeal = true
    this.#wake()
  }

  cancel(joiner: Joiner): void {
    this.#waiting = this.#waiting.filter(waiting => waiting.joiner !== joiner)
  }

  /** Settles when everything up to a stored position is delivered, after a second in any case; `undefined`: it is. */
  reached(position: Position): Promise<void> | undefined {
    if (this.#isReached(position)) return undefined
    return new Promise(resolve => {
      this.#reaching.push({ position, resolve, since: performance.now() })
      this.#watchReaching()
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#waiting = []
    this.#tail.clear()
    this.#endReaching()
  }

  #wake(): void {
    if (!this.#isRunning) void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    for (let failures = 0; !this.#isStopped && this.#hasWork; ) {
      try {
        await this.#host.reads.run(() => this.#step())
        failures = 0
      } catch (error) {
        failures++
        this.#host.log.debug({ err: error, topic: this.kept.topic }, 'stream is not read')
        await sleep(Math.min(MAX_PAUSE_MS, 25 * 2 ** failures), undefined, { ref: false })
      }
    }
    this.#isRunning = false
  }

  get #hasWork(): boolean {
    return this.#cursor === undefined || this.#needsHeal || this.#waiting.length > 0
  }

  async #step(): Promise<void> {
    if (this.#isStopped) return
    if (this.#cursor === undefined) await this.#begin()
    else if (this.#needsHeal) await this.#heal(this.#cursor)
    else await this.#recover(this.#cursor)
  }

  /** The top first: entries from here on are read once the subscription is confirmed. */
  async #begin(): Promise<void> {
    const { streams } = this.#host
    const [top] = await streams.tops([this.kept])
    if (this.#isStopped) return
    this.#cursor = top!
    this.#needsHeal = true
    this.#answerAll()
    await streams.listen(this.kept.topic)
  }

  async #heal(from: Position): Promise<void> {
    this.#needsHeal = false
    const heal = ++this.#heals
    const page = await this.#readBehind(from).catch(error => {
      this.#needsHeal = true
      throw error
    })
    if (this.#isStopped) return
    if (page.lost === 'ahead' || this.#isForked(page.entries)) {
      this.#needsHeal = true
      // Of a fork the top may be beyond the cursor.
      await this.#host.fence(this.kept, { ...from, offset: this.#hasForked ? Number.MAX_SAFE_INTEGER : from.offset })
      this.#hasForked = false
      if (this.#isStopped) return
    } else if (page.lost !== undefined) {
      this.#lose(page.top, page.lost)
    } else {
      this.#host.totals.healed += this.#advance(page.entries)
      if (page.top.offset > this.#cursor!.offset) this.#needsHeal = true
    }
    // A position is ahead, or of another epoch, only if all has been read.
    this.#answerAll(this.#needsHeal ? 0 : heal)
  }

  /** Reads behind the cursor, and the entry at the cursor to compare it, if both have it. */
  async #readBehind(from: Position): Promise<StreamPage> {
    if (this.#tail.has(from.offset)) {
      const page = await this.#read({ after: { ...from, offset: from.offset - 1 }, ...PAGE })
      if (page.lost !== 'trimmed') return page
    }
    return this.#read({ after: from, ...PAGE })
  }

  #isForked(entries: readonly StreamEntry[]): boolean {
    this.#hasForked ||= entries.some(entry => this.#tail.isOther(entry))
    return this.#hasForked
  }

  /** Reads what the oldest joiner has missed, once for all. */
  async #recover(cursor: Position): Promise<void> {
    const joiners = [...this.#waiting]
    if (joiners.some(({ joiner: { after } }) => after !== 'earliest' && !this.#isBehind(after))) {
      this.#needsHeal = true
      return
    }
    const { recoverBytes } = this.kept.bounds
    const missed: StreamEntry[] = []
    let bytes = 0
    /** Before the first of `missed`. */
    let floor = Math.min(...joiners.map(({ joiner }) => offsetOf(joiner)))
    let last = floor
    for (;;) {
      const page = await this.#read(
        last < 0 ? { from: 'oldest', ...PAGE } : { after: { ...cursor, offset: last }, ...PAGE },
      )
      if (this.#isStopped) return
      if ((page.lost !== undefined && page.lost !== 'trimmed') || page.top.epoch !== this.#cursor!.epoch) {
        this.#needsHeal = true
        return
      }
      if (last < 0) last = floor = page.floor.offset
      this.#loseBefore(joiners, page.floor.offset, 'trimmed')
      if (page.lost !== undefined) return
      for (const entry of page.entries) {
        missed.push(entry)
        bytes += sizeOf(entry)
        last = entry.offset
      }
      const isTooMuch = bytes > recoverBytes
      while (bytes > recoverBytes) {
        const first = missed.shift()!
        bytes -= sizeOf(first)
        floor = first.offset
      }
      if (isTooMuch) this.#loseBefore(joiners, floor, 'too much')
      if (!joiners.some(waiting => this.#waiting.includes(waiting))) return
      const isAhead = last > this.#cursor!.offset
      if (isAhead && page.entries[0]!.offset > this.#cursor!.offset + 1) {
        // Entries that the members have not got are trimmed.
        this.#needsHeal = true
        return
      }
      // The announcements of these are still on their way.
      if (isAhead) this.#advance(page.entries)
      const rest = last === this.#cursor!.offset ? [] : this.#tail.after(last)
      if (rest === undefined) continue
      for (const waiting of joiners) {
        if (!this.#waiting.includes(waiting)) continue
        const from = Math.max(floor, offsetOf(waiting.joiner))
        this.#accept(waiting, [...missed.filter(({ offset }) => offset > from), ...rest])
      }
      return
    }
  }

  async #read(range: ReadRange): Promise<StreamPage> {
    this.#host.totals.reads++
    return this.#host.streams.read(this.kept, range)
  }

  /** Delivers the entries behind the cursor; returns their number. */
  #advance(entries: readonly StreamEntry[]): number {
    const { epoch } = this.#cursor!
    let delivered = 0
    for (const entry of entries) {
      if (entry.offset <= this.#cursor!.offset) continue
      this.#cursor = { epoch, offset: entry.offset }
      this.#tail.push(entry)
      this.#host.deliver(this.kept.topic, entry, epoch)
      delivered++
    }
    if (this.#reaching.length > 0) this.#endReaching()
    return delivered
  }

  #lose(top: Position, reason: LossReason): void {
    this.#cursor = top
    this.#tail.clear()
    count(this.#host.totals.lost, reason)
    this.#host.log.warn({ topic: this.kept.topic, reason }, 'entries of a stream are lost to its members')
    this.#host.lose(this.kept.topic, top, reason)
    this.#endReaching()
  }

  /** Reads if the announcement of a stored entry does not come. */
  #watchReaching(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const now = performance.now()
      this.#endReaching(now - REACH_MS)
      const [oldest] = this.#reaching
      if (oldest === undefined) return
      if (now - oldest.since >= ANNOUNCE_MS) this.heal()
      this.#watchReaching()
    }, ANNOUNCE_MS).unref()
  }

  /** @param late - callers that have waited since before this time are not kept waiting. */
  #endReaching(late = 0): void {
    this.#reaching = this.#reaching.filter(({ position, resolve, since }) => {
      const ends = since <= late || this.#isReached(position)
      if (ends) resolve()
      return !ends
    })
  }

  #isReached({ epoch, offset }: Position): boolean {
    const cursor = this.#cursor
    return this.#isStopped || (cursor !== undefined && cursor.epoch === epoch && cursor.offset >= offset)
  }

  #isBehind(after: 'now' | Position): boolean {
    const cursor = this.#cursor
    return after === 'now' || (after.epoch === cursor?.epoch && after.offset <= cursor.offset)
  }

  /** @param heal - number of the read that has ended. */
  #answerAll(heal = 0): void {
    for (const waiting of this.#waiting) {
      if (this.#answer(waiting) || heal <= waiting.since) continue
      const { after } = waiting.joiner
      if (typeof after === 'string' || this.#isBehind(after)) continue
      this.#refuse(waiting, after.epoch === this.#cursor!.epoch ? 'ahead' : 'epoch')
    }
  }

  /** Makes the joiner a member if the tail has all that it missed. */
  #answer(waiting: Waiting): boolean {
    const { after } = waiting.joiner
    if (after === 'earliest' || !this.#isBehind(after)) return false
    const isCurrent = after === 'now' || after.offset === this.#cursor!.offset
    const missed = isCurrent ? [] : this.#tail.after(after.offset)
    if (missed === undefined) return false
    this.#accept(waiting, missed)
    return true
  }

  #accept(waiting: Waiting, entries: readonly StreamEntry[]): void {
    const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
    if (bytes > this.kept.bounds.recoverBytes) {
      this.#refuse(waiting, 'too much')
      return
    }
    this.cancel(waiting.joiner)
    if (waiting.joiner.after !== 'now') this.#host.totals.recovered++
    waiting.joiner.joined({ position: this.#cursor!, recovered: true, entries })
  }

  /** It becomes a member from now on, without what it missed. */
  #refuse(waiting: Waiting, lost: LossReason): void {
    this.cancel(waiting.joiner)
    count(this.#host.totals.lost, lost)
    waiting.joiner.joined({ position: this.#cursor!, recovered: false, lost, entries: [] })
  }

  #loseBefore(joiners: readonly Waiting[], floor: number, reason: LossReason): void {
    for (const waiting of joiners) {
      // The earliest entry that is kept is never trimmed.
      const isExempt = waiting.joiner.after === 'earliest' && reason === 'trimmed'
      const isLost = !isExempt && offsetOf(waiting.joiner) < floor
      if (isLost && this.#waiting.includes(waiting)) this.#refuse(waiting, reason)
    }
  }
}

/** -1: the oldest entry that is kept. */
function offsetOf({ after }: Joiner): number {
  return typeof after === 'string' ? -1 : after.offset
}
