import { setTimeout as sleep } from 'node:timers/promises'
import type { AppendOptions, Server } from '../../contract/client.ts'
import type { Awaitable } from '../../contract/deadline.ts'
import type { AppendOutcome, Attributes } from '../../contract/streams.ts'
import type { NodeRegistry } from '../node-registry.ts'
import { begunRecord, doneRecord, type RequestRecord, readRecord } from './record.ts'

/** Milliseconds between two looks at a request that another node runs, and until a write is tried again. */
const PAUSE_MS = 200
/** Milliseconds until a write is tried again, at most. */
const MAX_PAUSE_MS = 30_000
/** Changes of a record by other nodes during one request. */
const MAX_TRIES = 10
/** Bytes of the outcomes of a sender that have attributes of their own. */
const MAX_OUTCOMES = 4_194_304
/** Each begin appends one entry, so that a storage that comes back older than this node has a lower top: a new epoch begins then. */
const ENTRY = [{ payload: '' }]
/** Name of the attribute with the completeness watermark. */
const FROM = 'from'

/** Why a request is not run: `answered`, `unavailable`, `gone` or `busy`. */
export class IdempotencyError extends Error {
  readonly code: 'answered' | 'unavailable' | 'gone' | 'busy'

  constructor(code: IdempotencyError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

export interface SenderHost {
  readonly window: number
  readonly nodes: Pick<NodeRegistry, 'id' | 'isOwn' | 'wasAlive' | 'isDead'>
  server(): Pick<Server, 'append'>
  /** The records of the sender have changed by so many bytes. */
  counted(bytes: number): void
  /** Its last connection has ended. */
  disconnected(sender: Sender): void
  failed(error: unknown): void
}

/** The record that this node has written, or the outcome that is recorded. */
type Begun<T> = { readonly record: RequestRecord; readonly repeated: boolean } | { readonly outcome: T }

/**
 * One incarnation of a program, which numbers its requests 1, 2, 3 ... and has less than `window` of them unanswered.
 *
 * The record of request `n` is attribute `n mod window` of a kept topic: a later number there proves that `n` was answered. Attribute
 * `from` is the completeness watermark: all requests from it on were recorded when they began, so one without a record has not begun.
 * All of them are changed by compare and set, and are lost together.
 */
export class Sender {
  /** `undefined`: the request is identified by a key. */
  readonly id: string | undefined
  readonly topic: string
  /** Its connections to this node. */
  connections = 0
  /** Time of the last disconnect, in milliseconds of `performance.now`. */
  leftAt = 0
  readonly #host: SenderHost
  /** Outcomes of the requests that this node runs or waits for. */
  readonly #underWay = new Map<number, Promise<unknown>>()
  /** Records as this node has last seen them, by attribute. */
  readonly #records = new Map<string, RequestRecord>()
  /** Bytes of the records of requests that no node runs. */
  #evictableBytes = 0
  #outcomeBytes = 0
  /** The completeness watermark as this node has last seen it. */
  #from: number | undefined
  /** The storage has lost a watermark that this node had seen. */
  #hasLost = false
  #isRemoved = false

  constructor(id: string | undefined, topic: string, host: SenderHost) {
    this.id = id
    this.topic = topic
    this.#host = host
  }

  get isBusy(): boolean {
    return this.#underWay.size > 0
  }

  /** Bytes of the records that `evict` removes. */
  get evictableBytes(): number {
    return this.#evictableBytes
  }

  /** One of its connections has ended. */
  leave(): void {
    this.leftAt = performance.now()
    if (--this.connections === 0) this.#host.disconnected(this)
  }

  /**
   * Runs a request once, and resolves with its outcome, also if it is sent again, to any node. `repeated` is passed to `run` if it may have
   * run before: its node has died, its record is lost, or `run` has rejected, which is not recorded as an outcome.
   *
   * @param n - 1, 2, 3 ..., less than the first unanswered number plus `window`.
   * @param isResent - the sender may have sent it before. `undefined`, for a sender with one request: it is unknown; after an eviction
   * the request runs with `repeated`.
   * @param run - returns a value that JSON can represent; of another one a resend gets `answered`.
   * @throws (rejects) IdempotencyError `answered`: it is done, and the outcome is not kept. `unavailable`: the storage does not answer, and
   * it has not run. `gone`: the last connection has ended while another node runs it.
   */
  once<T>(n: number, isResent: boolean | undefined, run: (repeated: boolean) => Awaitable<T>): Promise<T> {
    const underWay = this.#underWay.get(n)
    if (underWay !== undefined) return underWay as Promise<T>
    const outcome = this.#once(n, isResent, run)
    // It is still under way: its begin is awaited.
    this.#underWay.set(n, outcome)
    return outcome
  }

  /** The store does not know it any more: as `evict`, and other records are no longer counted. */
  remove(): void {
    void this.evict()
    for (const slot of this.#records.keys()) this.#set(slot, undefined)
    this.#isRemoved = true
  }

  /** Removes the records of the requests that no node runs: resends run with `repeated`. Never rejects. */
  async evict(): Promise<void> {
    const evicted: Record<string, string> = {}
    let next = 0
    for (const [slot, { n, text, node }] of this.#records) {
      if (node !== undefined) continue
      evicted[slot] = text
      next = Math.max(next, n + 1)
    }
    for (const slot in evicted) this.#set(slot, undefined)
    try {
      for (let tries = 0; tries < MAX_TRIES && Object.keys(evicted).length > 0; tries++) {
        const from = this.#from === undefined ? null : String(Math.max(this.#from, next))
        const set: Record<string, string | null> = { [FROM]: from }
        for (const slot in evicted) set[slot] = set[outcomeOf(slot)] = null
        const outcome = await this.#append([], { when: { ...evicted, [FROM]: this.#fromAttribute }, set })
        this.#seeFrom('position' in outcome ? from : outcome.attributes[FROM])
        if ('position' in outcome) return
        // Records that another node has changed meanwhile stay.
        for (const slot in evicted) if (outcome.attributes[slot] !== evicted[slot]) delete evicted[slot]
      }
    } catch (error) {
      this.#host.failed(error)
    }
  }

  async #once<T>(n: number, isResent: boolean | undefined, run: (repeated: boolean) => Awaitable<T>): Promise<T> {
    try {
      const begun = await this.#begin<T>(n, isResent)
      if ('outcome' in begun) return begun.outcome
      try {
        const outcome = await run(begun.repeated)
        const json = jsonOf(outcome)
        // Not awaited: if this node dies before the record is stored, a resend runs with repeated, as it does before the answer.
        void this.#replace(begun.record, doneRecord(n, json, MAX_OUTCOMES - this.#outcomeBytes), json)
        return outcome
      } catch (error) {
        void this.#replace(begun.record, begunRecord(n))
        throw error
      }
    } finally {
      this.#underWay.delete(n)
    }
  }

  async #begin<T>(n: number, isResent: boolean | undefined): Promise<Begun<T>> {
    const { nodes, failed } = this.#host
    const slot = this.#slotOf(n)
    try {
      for (let tries = 0; tries < MAX_TRIES; ) {
        const found = this.#records.get(slot)
        if (found !== undefined && found.n > n) throw answered(n)
        const isSame = found?.n === n
        if (isSame && found.isDone) return { outcome: await this.#outcomeIn(slot, found) }
        const node = isSame ? found.node : undefined
        // What this node has begun is not under way, or this call would share its outcome.
        if (node !== undefined && !nodes.isOwn(node) && (nodes.wasAlive(node) || !nodes.isDead(node))) {
          if (this.connections === 0)
            throw new IdempotencyError('gone', `the sender has disconnected while another node runs request ${n}`)
          await sleep(PAUSE_MS)
          await this.#look(slot)
          continue
        }
        const mayHaveBegun = this.#from === undefined ? isResent === true : isResent !== false && n < this.#from
        const record = begunRecord(n, nodes.id)
        if (await this.#claim(slot, found, record, isResent)) return { record, repeated: isSame || mayHaveBegun }
        tries++
      }
      throw new Error(`the record of request ${n} has changed ${MAX_TRIES} times during its begin`)
    } catch (error) {
      if (error instanceof IdempotencyError) throw error
      failed(error)
      const message = `request ${n} cannot be recorded in the storage, try again later`
      throw new IdempotencyError('unavailable', message, error)
    }
  }

  /** Writes the record of a begin, unless the one before or the watermark are not as this node has seen them. */
  async #claim(
    slot: string,
    before: RequestRecord | undefined,
    record: RequestRecord,
    isResent: boolean | undefined,
  ): Promise<boolean> {
    const when: Record<string, string | null> = { [slot]: before === undefined ? null : before.text }
    const set: Record<string, string | null> = { [slot]: record.text }
    const setsFrom = isResent !== true && this.#from === undefined
    if (isResent !== false || setsFrom) when[FROM] = this.#fromAttribute
    // After a loss, records of requests that have begun on another node may be missing, as far as the window goes.
    const from = this.#hasLost ? record.n + this.#host.window : record.n
    if (setsFrom) set[FROM] = String(from)
    if (before !== undefined && before.outcomeBytes > 0) set[outcomeOf(slot)] = null
    let outcome: AppendOutcome
    try {
      outcome = await this.#append(ENTRY, { when, set })
    } catch (error) {
      // It may be stored later.
      this.#set(slot, record)
      void this.#replace(record, begunRecord(record.n))
      throw error
    }
    if ('position' in outcome) {
      this.#set(slot, record)
      if (setsFrom) this.#seeFrom(set[FROM])
      return true
    }
    this.#see(slot, outcome.attributes)
    if (FROM in when) this.#seeFrom(outcome.attributes[FROM])
    return false
  }

  /**
   * Replaces the record of a begin, for which other nodes wait as long as this node lives: tries until the store removes the sender. Does
   * not change the record of another node that has taken the request over, or of a later request. Never rejects.
   */
  async #replace(begun: RequestRecord, record: RequestRecord, json?: string): Promise<void> {
    const slot = this.#slotOf(begun.n)
    if (this.#records.get(slot) !== begun) return
    const when = { [slot]: begun.text }
    const set: Record<string, string> = { [slot]: record.text }
    if (record.outcomeBytes > 0) set[outcomeOf(slot)] = json!
    for (let pause = PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      try {
        const written = this.#append([], { when, set })
        // This may evict the record, which must come after the append.
        if (pause === PAUSE_MS) this.#set(slot, record)
        const appended = await written
        if ('refused' in appended) this.#see(slot, appended.attributes)
        return
      } catch (error) {
        if (pause === PAUSE_MS) this.#host.failed(error)
      }
      // While a resend is under way, its begin may be recorded with the same string.
      do await sleep(pause, undefined, { ref: false })
      while (this.#underWay.has(begun.n))
      const found = this.#records.get(slot)
      // Memory may have been released meanwhile.
      if (this.#isRemoved || (found !== undefined && found !== record)) return
    }
  }

  /** The outcome of a record. @throws IdempotencyError `answered`: it is not kept. */
  async #outcomeIn<T>(slot: string, { n, text, json, outcomeBytes }: RequestRecord): Promise<T> {
    if (json !== undefined) return JSON.parse(json)
    const attributes = outcomeBytes > 0 ? await this.#look(slot) : {}
    const found = attributes[slot] === text ? attributes[outcomeOf(slot)] : undefined
    if (found === undefined) throw answered(n)
    return JSON.parse(found)
  }

  /** The attributes of a record and the watermark: a refusal returns those that `when` names, and no value is empty. */
  async #look(slot: string): Promise<Attributes> {
    const outcome = await this.#append([], { when: { [slot]: '', [outcomeOf(slot)]: '', [FROM]: '' } })
    const attributes = 'refused' in outcome ? outcome.attributes : {}
    this.#see(slot, attributes)
    this.#seeFrom(attributes[FROM])
    return attributes
  }

  #append(entries: typeof ENTRY | [], how: AppendOptions): Promise<AppendOutcome> {
    return this.#host.server().append(this.topic, entries, how)
  }

  /** The record of a slot is as in the storage. */
  #see(slot: string, { [slot]: text }: Attributes): void {
    if (text !== this.#records.get(slot)?.text) this.#set(slot, text === undefined ? undefined : readRecord(text))
  }

  #set(slot: string, record: RequestRecord | undefined): void {
    const before = this.#records.get(slot)
    if (record === undefined) this.#records.delete(slot)
    else this.#records.set(slot, record)
    this.#outcomeBytes += (record?.outcomeBytes ?? 0) - (before?.outcomeBytes ?? 0)
    this.#evictableBytes += evictableBytes(record) - evictableBytes(before)
    if (!this.#isRemoved) this.#host.counted((record?.bytes ?? 0) - (before?.bytes ?? 0))
  }

  #slotOf(n: number): string {
    return `n${n % this.#host.window}`
  }

  #seeFrom(attribute: string | null | undefined): void {
    const from = attribute === null || attribute === undefined ? undefined : Number(attribute)
    this.#hasLost = from === undefined && (this.#hasLost || this.#from !== undefined)
    this.#from = from
  }

  get #fromAttribute(): string | null {
    return this.#from === undefined ? null : String(this.#from)
  }
}

/** Name of the attribute with the outcome of a record, if that has one of its own. */
function outcomeOf(slot: string): string {
  return `${slot}=`
}

function evictableBytes(record: RequestRecord | undefined): number {
  return record !== undefined && record.node === undefined ? record.bytes : 0
}

function answered(n: number): IdempotencyError {
  return new IdempotencyError('answered', `request ${n} is done and answered, and its answer is not kept`)
}

/** `undefined` if it is no JSON. */
function jsonOf(outcome: unknown): string | undefined {
  try {
    return JSON.stringify(outcome)
  } catch {
    return undefined
  }
}
