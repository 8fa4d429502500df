import { hash } from 'node:crypto'
import calculateSlot from 'cluster-key-slot'
import type {
  Append,
  Appender,
  AppendOutcome,
  Logger,
  LostReason,
  Position,
  ReadRange,
  StreamEntry,
  StreamListener,
  StreamPage,
  StreamRef,
  Streams,
} from 'filtered-websocket'
import { newEpoch, RateLimitedLog } from 'filtered-websocket/kit'
import { chunksOf } from './chunks.ts'
import { type Connection, RefusedError } from './connection.ts'
import { readAnnouncement, readEntry, writeEntry } from './stream-entry.ts'
import { APPEND, READ, REMOVE, RIGHTS, type Script, TOPS, TRIM } from './stream-scripts.ts'
import type { Subscriptions } from './subscriptions.ts'
import { fromUtf8Safe, toUtf8Safe } from './utf8-safe.ts'

/** Milliseconds that an unused stream is kept, at least. */
const MIN_LIFETIME = 3_600_000
/** Milliseconds that Redis accepts as a time to live: 31,000 years. */
const MAX_TTL = 1e15
/** Streams per script. */
const TOPS_CHUNK = 1000
/** Errors of a state of Redis that ends by itself. Errors of the ACL have another text in each version. */
const TEMPORARY = /^\w+: (OOM|READONLY|MISCONF|NOREPLICAS) /
/** Characters of a hash in a key: 192 bits. */
const HASH_LENGTH = 32

export interface StreamsHost {
  /** Prefix of keys and channels. */
  readonly key: string
  readonly log: Logger
  /** Whether Redis answers commands. */
  readonly isReady: () => boolean
}

/** Streams as Redis streams, each operation an atomic script; see `stream-scripts.ts` for the keys. */
export class RedisStreams implements Streams {
  readonly #connection: Connection
  readonly #subscriptions: Subscriptions
  readonly #host: StreamsHost
  readonly #warnings: RateLimitedLog
  /** Topics that this node listens to, by channel. */
  readonly #topics = new Map<string, string>()
  #listener: StreamListener | undefined
  #hasRights = false
  #refused = 0
  #invalid = 0

  constructor(connection: Connection, subscriptions: Subscriptions, host: StreamsHost) {
    this.#connection = connection
    this.#subscriptions = subscriptions
    this.#host = host
    this.#warnings = new RateLimitedLog(host.log, 1)
    subscriptions.onInterrupted(channels => this.#interrupted(channels))
  }

  start(listener: StreamListener): void {
    this.#listener = listener
  }

  isReady(): boolean {
    return this.#host.isReady()
  }

  metrics(): Readonly<Record<string, number>> {
    return { refused_announcements_total: this.#refused, invalid_announcements_total: this.#invalid }
  }

  async append(
    { topic, bounds }: StreamRef,
    appends: readonly Append[],
    appender: Appender,
  ): Promise<readonly AppendOutcome[]> {
    const name = this.#nameOf(topic)
    const keys = [name, `${name}:entries`, `${name}:calls`]
    const entries: Buffer[] = []
    const { bytes = Number.POSITIVE_INFINITY } = bounds
    const sizes: number[] | undefined = bytes <= Number.MAX_SAFE_INTEGER ? [] : undefined
    const planned = appends.map(append => {
      for (const entry of append.entries) {
        entries.push(writeEntry(entry, appender))
        sizes?.push(Buffer.byteLength(entry.payload))
      }
      return planOf(append, name, keys)
    })
    const { node, call, known = { epoch: '', offset: 0 } } = appender
    const head: AppendHead = {
      epoch: newEpoch(),
      node,
      call: String(call),
      known,
      size: Math.min(bounds.size, Number.MAX_SAFE_INTEGER),
      ...(sizes && { bytes, sizes }),
      refuse: bounds.full === 'refuse',
      ttl: String(ttlOf(bounds)),
      life: String(lifetimeOf(bounds)),
      publish: this.#publish,
      appends: planned,
    }
    const [answer, refusal] = (await this.#run(APPEND, keys, [JSON.stringify(head), ...entries])) as [Buffer, Buffer]
    this.#reportRefusal(topic, refusal)
    return outcomesOf(JSON.parse(answer.toString()))
  }

  async read({ topic, bounds }: StreamRef, range: ReadRange): Promise<StreamPage> {
    const name = this.#nameOf(topic)
    const position = 'after' in range ? range.after : { epoch: '', offset: 0 }
    const [epoch, top, floor, lost, attributes, found] = (await this.#run(
      READ,
      [name, `${name}:entries`],
      [
        newEpoch(),
        'after' in range ? 'after' : range.from,
        position.epoch,
        position.offset,
        Math.min(range.entries, Number.MAX_SAFE_INTEGER),
        Math.min(range.bytes, Number.MAX_SAFE_INTEGER),
        ttlOf(bounds),
        lifetimeOf(bounds),
      ],
    )) as [Buffer, Buffer, Buffer, Buffer, Buffer[], Buffer[]]
    const entries = chunksOf(found, 2).map(([id, bytes]) => storedEntry(topic, id!, bytes!))
    const reason = lost.toString() as LostReason | ''
    return {
      entries: !('after' in range) && range.from === 'newest' ? entries.reverse() : entries,
      top: { epoch: epoch.toString(), offset: Number(top) },
      floor: { epoch: epoch.toString(), offset: Number(floor) },
      attributes: attributesOf(attributes.map(String)),
      ...(reason !== '' && { lost: reason }),
    }
  }

  async tops(streams: readonly StreamRef[]): Promise<readonly Position[]> {
    const named = streams.map(({ topic, bounds }, i) => ({ name: this.#nameOf(topic), life: lifetimeOf(bounds), i }))
    const bySlot = new Map<number, typeof named>()
    // In a Redis Cluster, keys of one command belong to one slot.
    for (const one of named) {
      const slot = this.#connection.isCluster ? calculateSlot(one.name) : 0
      const group = bySlot.get(slot)
      if (group === undefined) bySlot.set(slot, [one])
      else group.push(one)
    }
    const tops: Position[] = []
    await Promise.all(
      [...bySlot.values()].flatMap(group =>
        chunksOf(group, TOPS_CHUNK).map(async chunk => {
          const keys = chunk.flatMap(({ name }) => [name, `${name}:entries`])
          const found = (await this.#run(
            TOPS,
            keys,
            chunk.flatMap(({ life }) => [newEpoch(), life]),
          )) as Buffer[]
          for (const [n, { i }] of chunk.entries())
            tops[i] = { epoch: found[2 * n]!.toString(), offset: Number(found[2 * n + 1]) }
        }),
      ),
    )
    return tops
  }

  async trim({ topic }: StreamRef, { epoch, offset }: Position): Promise<void> {
    const name = this.#nameOf(topic)
    await this.#run(TRIM, [name, `${name}:entries`], [epoch, offset])
  }

  async remove(topic: string): Promise<void> {
    const name = this.#nameOf(topic)
    const refusal = await this.#run(REMOVE, [name, `${name}:entries`], [newEpoch(), MIN_LIFETIME, this.#publish])
    this.#reportRefusal(topic, refusal as Buffer)
  }

  listen(topic: string): Promise<void> {
    const channel = this.#nameOf(topic)
    this.#topics.set(channel, topic)
    return this.#subscriptions.listen(channel, bytes => this.#announced(topic, bytes))
  }

  ignore(topic: string): void {
    const channel = this.#nameOf(topic)
    this.#topics.delete(channel)
    this.#subscriptions.ignore(channel)
  }

  get #publish(): string {
    return this.#connection.isCluster ? 'SPUBLISH' : 'PUBLISH'
  }

  /** Name of the metadata and of the channel. The hash keeps all keys of a topic in one slot: a topic may contain braces. */
  #nameOf(topic: string): string {
    return `${this.#host.key}{${hashOf(topic)}}`
  }

  async #run({ sha, text }: Script, keys: readonly string[], args: readonly (string | number | Buffer)[]) {
    if (!this.#hasRights) await this.#checkRights()
    try {
      return await this.#connection.runBuffer('EVALSHA', sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof RefusedError && /: NOSCRIPT /.test(error.message))) throw error
      return this.#connection.runBuffer('EVAL', text, keys.length, ...keys, ...args)
    }
  }

  /** A script that Redis ends half-way for a missing right would leave a damaged stream. */
  async #checkRights(): Promise<void> {
    const name = `${this.#host.key}{rights}`
    const failed = await this.#connection.run('EVAL', RIGHTS.text, 2, name, `${name}:entries`)
    if (failed === null) this.#hasRights = true
    else if (!TEMPORARY.test(String(failed)))
      throw new Error(`streams need the command ${failed}; see the ACL in docs/operations/deployment.md`)
  }

  #announced(topic: string, bytes: Buffer): void {
    const announcement = readAnnouncement(topic, bytes)
    if (typeof announcement === 'string') {
      this.#invalid++
      this.#warnings.add('error', { topic }, `announcement refused: ${announcement}`, 'invalid')
    } else this.#listener?.announced(announcement)
  }

  #interrupted(channels: readonly string[] | undefined): void {
    const topics = channels?.flatMap(channel => this.#topics.get(channel) ?? [])
    if (topics?.length !== 0) this.#listener?.interrupted(topics)
  }

  #reportRefusal(topic: string, refusal: Buffer): void {
    if (refusal.length === 0) return
    this.#refused++
    const reason = refusal.toString()
    this.#warnings.add(
      'error',
      { reason },
      'redis refuses announcements, appends are stored and not announced',
      'refused',
    )
    this.#listener?.interrupted([topic])
  }
}

/** The first argument of `APPEND`. Numbers that it only gives to Redis are strings. */
interface AppendHead {
  /** For a new stream. */
  readonly epoch: string
  readonly node: string
  readonly call: string
  readonly known: Position
  readonly size: number
  /** With a bound of bytes, and then those of each payload. */
  readonly bytes?: number
  readonly sizes?: readonly number[]
  readonly refuse: boolean
  readonly ttl: string
  readonly life: string
  readonly publish: string
  readonly appends: readonly Plan[]
}

/** An append without its entries: their number, and what else there is. */
type Plan =
  | number
  | {
      readonly count: number
      /** Index of the key, from 1. */
      readonly key?: number | undefined
      readonly when?: Readonly<Record<string, string | null>> | undefined
      readonly set?: Readonly<Record<string, string | null>> | undefined
    }

/** @param keys - gets the name of the idempotency key. */
function planOf({ entries, when, set, key }: Append, name: string, keys: string[]): Plan {
  const count = entries.length
  if (when === undefined && set === undefined && key === undefined) return count
  return {
    count,
    key: key === undefined ? undefined : keys.push(`${name}:key:${hashOf(key)}`),
    when: when && utf8SafeFields(when),
    set: set && utf8SafeFields(set),
  }
}

function utf8SafeFields(fields: Readonly<Record<string, string | null>>): Readonly<Record<string, string | null>> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [toUtf8Safe(name), value === null ? null : toUtf8Safe(value)]),
  )
}

type Answer =
  | number
  | readonly ['key', offset: number]
  // An empty array is an object in the JSON of Lua.
  | readonly ['full' | 'attributes', top: number, attributes: readonly string[] | object]

function outcomesOf([epoch, ...answers]: readonly [epoch: string, ...answers: Answer[]]): readonly AppendOutcome[] {
  return answers.map(answer => {
    if (typeof answer === 'number') return { position: { epoch, offset: answer }, repeated: false }
    const [what, offset, attributes] = answer
    if (what === 'key') return { position: { epoch, offset }, repeated: true }
    return {
      refused: what,
      attributes: attributesOf(Array.isArray(attributes) ? attributes : []),
      top: { epoch, offset },
    }
  })
}

function attributesOf(namesAndValues: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    chunksOf(namesAndValues, 2).map(([name, value]) => [fromUtf8Safe(name!), fromUtf8Safe(value!)]),
  )
}

/** @throws Error if another release or another program has written the entry. */
function storedEntry(topic: string, id: Buffer, bytes: Buffer): StreamEntry {
  const [offset, at] = id.toString().split('-').map(Number)
  const entry = readEntry(bytes, offset!, at!)
  if (typeof entry === 'string')
    throw new Error(`stream of topic ${JSON.stringify(topic.slice(0, 100))}, offset ${offset}: ${entry}`)
  return entry
}

function hashOf(text: string): string {
  return hash('sha256', toUtf8Safe(text), 'base64url').slice(0, HASH_LENGTH)
}

function ttlOf({ ttlMs }: StreamRef['bounds']): number {
  return Math.min(Math.max(1, Math.ceil(ttlMs)), MAX_TTL)
}

function lifetimeOf(bounds: StreamRef['bounds']): number {
  return Math.max(MIN_LIFETIME, 10 * ttlOf(bounds))
}
