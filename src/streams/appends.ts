import { setTimeout as sleep } from 'node:timers/promises'
import { FwsError, messageOf } from '../contract/errors.ts'
import type { StreamTotals } from '../contract/metrics.ts'
import {
  type Append,
  type AppendOutcome,
  type KeptTopic,
  MAX_APPEND_BYTES,
  MAX_APPEND_ENTRIES,
  type Position,
  type Streams,
} from '../contract/streams.ts'
import { BoundedMap } from '../kit/bounded-map.ts'
import { sizeOf } from './tail.ts'

/** Topics whose last position is remembered without members on this node. */
const MAX_KNOWN = 10_000
/** Milliseconds between two looks at the entries that wait: late ones are refused. */
const TICK_MS = 50
/** Milliseconds between two attempts while the storage does not answer. */
const MIN_PAUSE_MS = 25
const MAX_PAUSE_MS = 1000

export interface AppendsHost {
  readonly streams: Streams
  /** UUID of this node. */
  readonly instance: string
  readonly totals: StreamTotals
  /** Bytes that wait in all topics together. */
  readonly maxBytes: number
  /** The position up to which a topic is delivered on this node. */
  cursorOf(topic: string): Position | undefined
}

interface Waiting {
  readonly append: Append
  readonly bytes: number
  readonly since: number
  readonly resolve: (outcome: AppendOutcome) => void
  readonly reject: (error: unknown) => void
  isSettled: boolean
}

interface Queue {
  readonly kept: KeptTopic
  /** The entries of the call that is under way. */
  sending: readonly Waiting[]
  waiting: Waiting[]
  /** A position that the storage must compare with its top, although no node may know a higher one. */
  fence: Position | undefined
  isRunning: boolean
}

/**
 * Appends the entries of this node, for each topic in the order of the calls, with one call at a time: the entries of a turn of the
 * event loop, and those that come during a call, go together. While the storage does not answer they wait.
 */
export class Appends {
  readonly #host: AppendsHost
  readonly #queues = new Map<string, Queue>()
  readonly #known = new BoundedMap<string, Position>(MAX_KNOWN)
  #bytes = 0
  #calls = 0
  #isStopped = false
  #timer: NodeJS.Timeout | undefined

  constructor(host: AppendsHost) {
    this.#host = host
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * @throws (rejects) FwsError `ERR_LIMIT`: too many bytes wait. `ERR_STORAGE`: the storage has not answered in time, or refuses;
   * the entries may be stored nevertheless.
   */
  append(kept: KeptTopic, append: Append): Promise<AppendOutcome> {
    const excess = excessOf(append)
    if (excess !== undefined) return Promise.reject(new FwsError('ERR_LIMIT', excess))
    const bytes = bytesOf(append)
    if (this.#bytes > 0 && this.#bytes + bytes > this.#host.maxBytes) {
      this.#host.totals.unsent += append.entries.length
      return Promise.reject(
        new FwsError('ERR_LIMIT', `${this.#bytes} bytes wait for the storage, at most ${this.#host.maxBytes}`),
      )
    }
    const mustNotWait = kept.bounds.away !== 'wait' || this.#isStopped
    const isAway = mustNotWait && !this.#host.streams.isReady()
    // Behind others that wait it is refused after them.
    if (isAway && !this.#queues.has(kept.topic)) return Promise.reject(this.#unsent(kept, append.entries.length))
    return new Promise((resolve, reject) => {
      this.#bytes += bytes
      const since = performance.now()
      this.#queueOf(kept).waiting.push({ append, bytes, since, resolve, reject, isSettled: false })
    })
  }

  /** Appends without a promise; `undefined`: the storage does not answer at once, others wait, or `append` refuses. */
  appendNow(kept: KeptTopic, append: Append): AppendOutcome | undefined {
    const { streams, instance } = this.#host
    // A fence is always queued.
    const isFree = streams.isImmediate === true && this.#queues.size === 0 && !this.#isStopped && streams.isReady()
    if (!isFree || excessOf(append) !== undefined) return undefined
    const appender = { node: instance, call: ++this.#calls, known: this.#knownOf(kept.topic) }
    const [outcome] = streams.append(kept, [append], appender) as readonly AppendOutcome[]
    this.#count(kept.topic, append, outcome!)
    return outcome
  }

  /** Has the storage begin a new epoch if its top is below `known`. @throws (rejects) as `append` does. */
  fence(kept: KeptTopic, known: Position): Promise<AppendOutcome> {
    this.#queueOf(kept).fence = known
    return this.append(kept, { entries: [] })
  }

  /** Refuses the entries that wait. */
  stop(): void {
    this.#isStopped = true
    this.#tick()
  }

  #queueOf(kept: KeptTopic): Queue {
    const { topic } = kept
    let queue = this.#queues.get(topic)
    if (queue === undefined) {
      queue = { kept, sending: [], waiting: [], fence: undefined, isRunning: false }
      this.#queues.set(topic, queue)
      this.#watch()
    }
    this.#wake(queue)
    return queue
  }

  #wake(queue: Queue): void {
    if (queue.isRunning) return
    queue.isRunning = true
    setImmediate(() => void this.#run(queue))
  }

  /** While the storage is known to be away no call is begun: its entries could not be refused one by one. */
  async #run(queue: Queue): Promise<void> {
    const { kept } = queue
    while (queue.waiting.length > 0) {
      if (!this.#host.streams.isReady()) {
        if (kept.bounds.away !== 'wait') this.#refuse(kept, queue.waiting.splice(0))
        break
      }
      queue.sending = take(queue)
      await this.#send(queue)
      queue.sending = []
    }
    queue.isRunning = false
    if (queue.waiting.length === 0) this.#queues.delete(kept.topic)
  }

  /** The same call again until there is an answer: the storage executes it once. */
  async #send(queue: Queue): Promise<void> {
    const { kept, fence, sending } = queue
    const { streams, instance } = this.#host
    queue.fence = undefined
    const appender = { node: instance, call: ++this.#calls, known: fence ?? this.#knownOf(kept.topic) }
    const appends = sending.map(({ append }) => append)
    for (let pause = MIN_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, 2 * pause)) {
      try {
        const outcomes = await streams.append(kept, appends, appender)
        for (const [i, waiting] of sending.entries()) {
          const outcome = outcomes[i]!
          this.#count(kept.topic, waiting.append, outcome)
          if (this.#settle(waiting)) waiting.resolve(outcome)
        }
        return
      } catch (error) {
        if (kept.bounds.away !== 'wait') this.#refuse(kept, sending, error)
        this.#refuse(
          kept,
          sending.filter(waiting => this.#isLate(kept, waiting)),
          error,
        )
        if (sending.every(({ isSettled }) => isSettled)) return
        await sleep(pause)
      }
    }
  }

  /** One timer for all topics. */
  #watch(): void {
    this.#timer ??= setTimeout(() => this.#tick(), TICK_MS).unref()
  }

  /** Refuses late entries, also of a call without an answer, and goes on if the storage is back. */
  #tick(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const queue of this.#queues.values()) {
      const { kept, sending, waiting } = queue
      // In the order of the calls, so the first ones are the late ones.
      const firstInTime = waiting.findIndex(entry => !this.#isLate(kept, entry))
      this.#refuse(
        kept,
        sending.filter(entry => this.#isLate(kept, entry)),
      )
      this.#refuse(kept, waiting.splice(0, firstInTime < 0 ? waiting.length : firstInTime))
      this.#wake(queue)
    }
    if (this.#queues.size > 0) this.#watch()
  }

  #isLate({ bounds }: KeptTopic, { since }: Waiting): boolean {
    return this.#isStopped || performance.now() - since >= bounds.waitMs
  }

  #refuse(kept: KeptTopic, entries: readonly Waiting[], cause?: unknown): void {
    for (const waiting of entries)
      if (this.#settle(waiting)) waiting.reject(this.#unsent(kept, waiting.append.entries.length, cause))
  }

  /** `false` if it has settled before. */
  #settle(waiting: Waiting): boolean {
    if (waiting.isSettled) return false
    waiting.isSettled = true
    this.#bytes -= waiting.bytes
    return true
  }

  #unsent({ topic }: KeptTopic, entries: number, cause?: unknown): FwsError {
    this.#host.totals.unsent += entries
    const why = cause === undefined ? 'the storage does not answer' : messageOf(cause)
    return new FwsError('ERR_STORAGE', `not appended to ${JSON.stringify(topic.slice(0, 100))}: ${why}`, cause)
  }

  #knownOf(topic: string): Position | undefined {
    const cursor = this.#host.cursorOf(topic)
    const known = this.#known.get(topic)
    if (cursor === undefined || known === undefined) return cursor ?? known
    return known.epoch === cursor.epoch && known.offset > cursor.offset ? known : cursor
  }

  #count(topic: string, { entries: { length } }: Append, outcome: AppendOutcome): void {
    const { totals } = this.#host
    if ('position' in outcome) totals.appended += outcome.repeated ? 0 : length
    else if (outcome.refused === 'full') totals.refused += length
    this.#learn(topic, 'position' in outcome ? outcome.position : outcome.top)
  }

  #learn(topic: string, position: Position): void {
    const known = this.#known.get(topic)
    if (known?.epoch === position.epoch && known.offset > position.offset) return
    this.#known.set(topic, position)
  }
}

/** Why an append is too large. */
function excessOf({ entries }: Append): string | undefined {
  const { length } = entries
  if (length <= 1) return undefined
  const payloads = entries.reduce((sum, { payload }) => sum + Buffer.byteLength(payload), 0)
  if (length <= MAX_APPEND_ENTRIES && payloads <= MAX_APPEND_BYTES) return undefined
  const limits = `at most ${MAX_APPEND_ENTRIES} and ${MAX_APPEND_BYTES} bytes, or one entry`
  return `${length} entries of ${payloads} bytes in one append, ${limits}`
}

function bytesOf({ entries, when, set, key = '' }: Append): number {
  let bytes = key.length
  for (const entry of entries) bytes += sizeOf(entry)
  for (const attributes of [when, set])
    for (const [name, value] of Object.entries(attributes ?? {})) bytes += name.length + (value?.length ?? 0)
  return bytes
}

/** The first appends of a queue that fit into one call; a single one always does. */
function take({ waiting }: Queue): readonly Waiting[] {
  let entries = 0
  let bytes = 0
  let count = 0
  for (const { append, bytes: more } of waiting) {
    entries += append.entries.length
    bytes += more
    if (count > 0 && (entries > MAX_APPEND_ENTRIES || bytes > MAX_APPEND_BYTES || count === MAX_APPEND_ENTRIES)) break
    count++
  }
  return waiting.splice(0, count)
}
