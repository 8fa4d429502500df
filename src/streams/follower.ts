import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isPromise } from '../contract/deadline.ts'
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
/** Milliseconds of answers to joiners between two reads of the sockets. */
const SLICE_MS = 1

/** A client that is to become a member at a position. */
export interface Joiner {
  readonly after: 'now' | 'earliest' | Position
  /** Whether it goes on behind entries that it got as a joiner: it counts once. */
  readonly isContinued?: boolean
  /** Called once, in the turn from which on later entries are delivered to it. MUST NOT throw. */
  joined(answer: Answer): void
}

/** The answer to a joiner. */
export interface Answer extends Pick<Joined, 'recovered' | 'lost'> {
  readonly position: Position
  /** Missed entries of several joiners, who share the array; those of this one begin at `from`. */
  readonly entries: readonly StreamEntry[]
  readonly from: number
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
  /** Announcements of the topic arrive from now on: it may have changed since the first read. */
  followed(topic: string): void
  /** Has the storage, which may have lost entries, compare its top with a position that this node knows. */
  fence(kept: KeptTopic, known: Position): Promise<unknown>
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
  /** Time of the last announcement, or of the last entry without one, in milliseconds. */
  activeAt = performance.now()
  readonly #host: FollowerHost
  readonly #tail: Tail
  #cursor: Position | undefined
  /** Joiners without an answer, each with the number of the last heal that was begun before it came. */
  readonly #waiting = new Map<Joiner, number>()
  /** For arrays that joiners share. */
  readonly #sums = new WeakMap<readonly StreamEntry[], Float64Array>()
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
    if (host.streams.isImmediate === true) this.#beginNow()
    else this.#wake()
  }

  /** `undefined` until the first read. */
  get cursor(): Position | undefined {
    return this.#cursor
  }

  get isAwaited(): boolean {
    return this.#waiting.size > 0 || this.#reaching.length > 0
  }

  announced({ top, entries }: Announcement): void {
    this.activeAt = performance.now()
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
    this.#waiting.set(joiner, this.#heals)
    if (this.#cursor !== undefined && this.#answer(joiner)) return
    // Behind the cursor the stream is read for the joiner alone.
    if (joiner.after !== 'earliest' && !this.#isBehind(joiner.after)) this.#needsHeal = true
    this.#wake()
  }

  cancel(joiner: Joiner): void {
    this.#waiting.delete(joiner)
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
    this.#waiting.clear()
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
    return this.#cursor === undefined || this.#needsHeal || this.#waiting.size > 0
  }

  async #step(): Promise<void> {
    if (this.#isStopped) return
    if (this.#cursor === undefined) await this.#begin()
    else if (this.#needsHeal) await this.#heal(this.#cursor)
    else await this.#recover(this.#cursor)
  }

  /** Entries may be appended in the same turn. */
  #beginNow(): void {
    const { streams } = this.#host
    const tops = streams.tops([this.kept])
    if (isPromise(tops)) {
      this.#wake()
      return
    }
    this.#cursor = (tops as readonly Position[])[0]
    void streams.listen(this.kept.topic)
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
    if (!this.#isStopped) this.#host.followed(this.kept.topic)
  }

  async #heal(from: Position): Promise<void> {
    this.#needsHeal = false
    const heal = ++this.#heals
    const page = await this.#readBehind(from).catch(error => {
      this.#needsHeal = true
      throw error
    })
    if (this.#isStopped) return
    const isForked = this.#isForked(page.entries)
    if (page.lost === 'ahead' || isForked) {
      this.#needsHeal = true
      // Of a fork the top may be beyond the cursor.
      await this.#host.fence(this.kept, { ...from, offset: isForked ? Number.MAX_SAFE_INTEGER : from.offset })
      this.#hasForked = false
    } else if (page.lost === undefined) {
      const healed = this.#advance(page.entries)
      if (healed > 0) this.activeAt = performance.now()
      this.#host.totals.healed += healed
      // Only when all is read, a position can be ahead or of another epoch.
      if (page.top.offset > this.#cursor!.offset) this.#needsHeal = true
      else this.#answerAll(heal)
    } else if (this.#cursor !== from) {
      // Announcements have come meanwhile, so the page says nothing of the cursor.
      this.#needsHeal = true
    } else {
      this.#lose(page.top, page.lost)
      this.#answerAll(heal)
    }
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

  /** Reads what the oldest joiner has missed, once for all joiners. */
  async #recover(cursor: Position): Promise<void> {
    const joiners = [...this.#waiting.keys()]
    if (joiners.some(({ after }) => after !== 'earliest' && !this.#isBehind(after))) {
      this.#needsHeal = true
      return
    }
    const missed = await this.#readMissed(cursor, joiners)
    if (missed !== undefined) await this.#answerWith(missed, joiners)
  }

  /** The entries from the oldest joiner on, up to the tail; `undefined` if none can be answered with them. */
  async #readMissed(cursor: Position, joiners: readonly Joiner[]): Promise<StreamEntry[] | undefined> {
    const { recoverBytes } = this.kept.bounds
    let missed: StreamEntry[] = []
    let bytes = 0
    let last = Math.min(...joiners.map(offsetOf))
    for (;;) {
      const page = await this.#read(
        last < 0 ? { from: 'oldest', ...PAGE } : { after: { ...cursor, offset: last }, ...PAGE },
      )
      if (this.#isStopped) return undefined
      const isChanged = page.top.epoch !== this.#cursor!.epoch || (page.lost !== undefined && page.lost !== 'trimmed')
      if (isChanged) this.#needsHeal = true
      else this.#refuseBefore(joiners, page.floor.offset, 'trimmed')
      if (isChanged || page.lost !== undefined) return undefined
      if (last < 0) last = page.floor.offset
      for (const entry of page.entries) {
        missed.push(entry)
        bytes += sizeOf(entry)
        last = entry.offset
      }
      let dropped = 0
      while (bytes > recoverBytes) bytes -= sizeOf(missed[dropped++]!)
      if (dropped > 0) {
        this.#refuseBefore(joiners, missed[dropped - 1]!.offset, 'too much')
        missed = missed.slice(dropped)
      }
      if (!joiners.some(joiner => this.#waiting.has(joiner))) return undefined
      const { offset } = this.#cursor!
      const [first] = page.entries
      // Trimmed before the members got them, or gone from the storage.
      if (last > offset ? first!.offset > offset + 1 : first === undefined && last < offset) {
        this.#needsHeal = true
        return undefined
      }
      // The announcements of these are still on their way.
      if (last > offset) this.#advance(page.entries)
      if (this.#behind(last) !== undefined) return missed
    }
  }

  /** In slices: what is delivered between two of them is added to the answers of the next. */
  async #answerWith(missed: StreamEntry[], joiners: readonly Joiner[]): Promise<void> {
    const { epoch } = this.#cursor!
    const floor = (missed[0]?.offset ?? this.#cursor!.offset + 1) - 1
    const last = floor + missed.length
    let entries: readonly StreamEntry[] | undefined
    let answered: Position | undefined
    let end = performance.now() + SLICE_MS
    for (const joiner of joiners) {
      if (performance.now() > end) {
        await nextTurn()
        end = performance.now() + SLICE_MS
      }
      if (this.#isStopped || this.#cursor!.epoch !== epoch) return
      if (!this.#waiting.has(joiner)) continue
      if (this.#cursor !== answered) {
        const rest = this.#behind(last)
        // The others are answered with another read.
        if (rest === undefined) return
        entries = rest.length === 0 ? missed : [...missed, ...rest]
        // Clients that return later, as after a restart of the node, need no read.
        if (answered === undefined) this.#tail.extend(entries)
        answered = this.#cursor
      }
      this.#accept(joiner, entries!, Math.max(0, offsetOf(joiner) - floor))
    }
  }

  /** The entries between an offset and the cursor, if the tail has them. */
  #behind(offset: number): readonly StreamEntry[] | undefined {
    return offset === this.#cursor!.offset ? [] : this.#tail.after(offset)
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

  /** @param heal - number of the heal that has ended. */
  #answerAll(heal = 0): void {
    for (const [joiner, since] of this.#waiting) {
      if (this.#answer(joiner) || heal <= since) continue
      const { after } = joiner
      if (typeof after === 'string' || this.#isBehind(after)) continue
      this.#refuse(joiner, after.epoch === this.#cursor!.epoch ? 'ahead' : 'epoch')
    }
  }

  /** Makes the joiner a member if the tail has all that it missed. */
  #answer(joiner: Joiner): boolean {
    const { after } = joiner
    if (after === 'earliest' || !this.#isBehind(after)) return false
    const missed = after === 'now' ? [] : this.#behind(after.offset)
    if (missed !== undefined) this.#accept(joiner, missed, 0)
    return missed !== undefined
  }

  #accept(joiner: Joiner, entries: readonly StreamEntry[], from: number): void {
    let sums = this.#sums.get(entries)
    if (sums === undefined) {
      sums = sumsOf(entries)
      this.#sums.set(entries, sums)
    }
    if (sums[from]! > this.kept.bounds.recoverBytes) {
      this.#refuse(joiner, 'too much')
      return
    }
    this.#waiting.delete(joiner)
    if (joiner.after !== 'now' && joiner.isContinued !== true) this.#host.totals.recovered++
    joiner.joined({ position: this.#cursor!, recovered: true, entries, from })
  }

  /** It becomes a member from now on, without the entries that it missed. */
  #refuse(joiner: Joiner, lost: LossReason): void {
    this.#waiting.delete(joiner)
    count(this.#host.totals.lost, lost)
    joiner.joined({ position: this.#cursor!, recovered: false, lost, entries: [], from: 0 })
  }

  #refuseBefore(joiners: readonly Joiner[], floor: number, reason: LossReason): void {
    for (const joiner of joiners) {
      // The earliest entry that is kept is never trimmed.
      const isExempt = joiner.after === 'earliest' && reason === 'trimmed'
      if (!isExempt && offsetOf(joiner) < floor && this.#waiting.has(joiner)) this.#refuse(joiner, reason)
    }
  }
}

/** Sums of the sizes from each index to the end. */
function sumsOf(entries: readonly StreamEntry[]): Float64Array {
  const sums = new Float64Array(entries.length + 1)
  for (let i = entries.length - 1; i >= 0; i--) sums[i] = sums[i + 1]! + sizeOf(entries[i]!)
  return sums
}

/** -1: the oldest entry that is kept. */
function offsetOf({ after }: Pick<Joiner, 'after'>): number {
  return typeof after === 'string' ? -1 : after.offset
}
