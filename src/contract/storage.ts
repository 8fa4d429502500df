import type { Logger } from 'pino'
import type { Awaitable } from './deadline.ts'
import type { OptionSpecs, OptionValues } from './option.ts'
import type { Payload } from './payload.ts'
import type { Streams } from './streams.ts'

/** Health of a storage by parts, each of which can fail alone. */
export interface StorageChecks {
  /** It accepts messages for other nodes and channels. */
  readonly sending: boolean
  /** Messages from other nodes and channels arrive. */
  readonly receiving: boolean
  /** It accepts writes. */
  readonly writing: boolean
}

/** Sets of strings. A member MUST NOT outlive the node that added it for longer than the lease of that node. */
export interface Sets {
  get(key: string): Awaitable<ReadonlySet<string>>
  add(key: string, member: string): Awaitable<void>
  remove(key: string, member: string): Awaitable<void>
}

/** Strings by key. Every operation MUST be atomic. */
export interface Values {
  get(key: string): Awaitable<string | undefined>
  /** Returns `false` if `ifAbsent` is set and the key exists. A set without `ttlMs` MUST remove an earlier time to live. */
  set(key: string, value: string, how?: { ttlMs?: number; ifAbsent?: boolean }): Awaitable<boolean>
  /** Adds `by` (default 1) to an integer, 0 if absent. `ttlMs` starts at the first increment; later ones MUST NOT extend it. */
  increment(key: string, by?: number, ttlMs?: number): Awaitable<number>
  /** Reads and deletes. Exactly one of several concurrent callers MUST get the value. */
  take(key: string): Awaitable<string | undefined>
  delete(key: string): Awaitable<void>
}

/** Publish and subscribe. MUST deliver each publish, also of this process, at most once to each subscription, in order per publisher. */
export interface Bus {
  publish(channel: string, payload: Payload): Awaitable<void>
  /** Returns a function that unsubscribes. After that, `deliver` MUST NOT be called. */
  subscribe(channel: string, deliver: (payload: Payload) => void): Awaitable<() => Awaitable<void>>
}

/** The capabilities of a storage. */
export interface Storage {
  readonly sets: Sets
  readonly values: Values
  readonly bus: Bus
  /** For the server, which calls `start`; filters use `server.append`. */
  readonly streams: Streams
}

export type Capability = keyof Storage

/**
 * Carries bytes between the nodes of one server. MUST deliver each envelope at most once to every node that listens to its
 * channel, in order per sender. MAY deliver a node's own envelopes to itself if that is cheaper. Channel names contain user
 * data: any string.
 */
export interface Carrier {
  /** Called once, before all other methods. */
  start(deliver: (channel: string, envelope: Buffer) => void): void
  /**
   * MUST NOT throw or block, and MUST bound the bytes that it queues. Returns `false` if the envelope is lost.
   *
   * @param onRefused - called at most once, after `true`, if the storage refuses the envelope later: it is lost.
   */
  send(channel: string, envelope: Buffer, onRefused?: () => void): boolean
  /** MUST NOT throw or reject. Settles when envelopes arrive, or when the storage cannot confirm it now and will retry. */
  listen(channel: string): Awaitable<void>
  ignore(channel: string): void
}

/** An open storage with any of the capabilities. */
export interface OpenStorage extends Partial<Storage> {
  /** Channels that feed the consumer chain. */
  readonly channels?: readonly string[]
  /** Connects the nodes; absent if the storage does not. */
  readonly carrier?: Carrier
  /** Whether the storage is reachable. Default: always. */
  readonly ready?: () => boolean
  /** Health by parts. Default: the result of `ready` for each. */
  readonly checks?: () => StorageChecks
  /** Metrics, by names such as `reconnects_total`; called on each scrape. */
  readonly metrics?: () => Readonly<Record<string, number>>
  close?(): Awaitable<void>
}

/** The exports of a storage module. */
export interface StorageModule<O extends OptionSpecs = OptionSpecs> {
  readonly options?: O
  /**
   * Opens the storage for the node with the UUID `instance`. MUST reject if the storage cannot be used, and release all
   * resources then. An error with the code `ERR_OPTION` is the operator's mistake (exit 2), any other a failure (exit 1).
   */
  open(host: {
    readonly options: OptionValues<O>
    readonly log: Logger
    readonly instance: string
  }): Awaitable<OpenStorage>
}
