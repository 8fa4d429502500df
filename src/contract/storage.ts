import type { Logger } from 'pino'
import type { Awaitable } from './deadline.ts'
import type { OptionSpecs, OptionValues } from './option.ts'
import type { Payload } from './payload.ts'

/** The parts of a storage, each of which may fail alone. */
export interface StorageChecks {
  /** It accepts messages for other nodes and channels. */
  readonly sending: boolean
  /** Messages of other nodes and channels arrive. */
  readonly receiving: boolean
  /** It accepts writes. */
  readonly writing: boolean
}

export interface Sets {
  get(key: string): Awaitable<ReadonlySet<string>>
  add(key: string, member: string): Awaitable<void>
  remove(key: string, member: string): Awaitable<void>
}

/** Every operation MUST be atomic. */
export interface Values {
  get(key: string): Awaitable<string | undefined>
  /** `false`: `ifAbsent` was asked and the key was there. A set without `ttlMs` MUST end an earlier time to live. */
  set(key: string, value: string, how?: { ttlMs?: number; ifAbsent?: boolean }): Awaitable<boolean>
  /** Adds `by` (default 1) to an integer, absent counting as 0. `ttlMs` holds from the first increment and MUST NOT be extended by later ones. */
  increment(key: string, by?: number, ttlMs?: number): Awaitable<number>
  /** Reads and deletes; of several callers exactly one MUST get the value. */
  take(key: string): Awaitable<string | undefined>
  delete(key: string): Awaitable<void>
}

/** MUST deliver each publish at most once to a subscription, in order per publisher, the process's own included. */
export interface Bus {
  publish(channel: string, payload: Payload): Awaitable<void>
  /** Answers how to unsubscribe. After that, `deliver` MUST NOT be called again. */
  subscribe(channel: string, deliver: (payload: Payload) => void): Awaitable<() => Awaitable<void>>
}

export interface Entry {
  readonly id: string
  /** Milliseconds since 1970, at append. */
  readonly at: number
  readonly payload: Payload
}

/** Ids MUST sort in append order as strings. */
export interface History {
  /** The newest so many entries of each log MUST be kept, and no older ones are; absent: nobody knows how many. */
  readonly entries?: number
  append(log: string, payload: Payload): Awaitable<string>
  /** Oldest first; `after` is exclusive, so a client resumes from the last id that it saw; `limit` defaults to all. */
  read(log: string, range?: { after?: string; limit?: number }): Awaitable<readonly Entry[]>
  /** Forgets entries up to and with this id. */
  trim(log: string, upTo: string): Awaitable<void>
}

export interface Storage {
  readonly sets: Sets
  readonly values: Values
  readonly bus: Bus
  readonly history: History
}

export type Capability = keyof Storage

/**
 * Carries bytes between the nodes of one server. MUST deliver each envelope at most once to every node that listens to
 * its channel, in order per sender, and SHOULD bring a node its own only if that comes cheaper. Channels are made of
 * user data: any text.
 */
export interface Carrier {
  /** Called once, before anything else. */
  start(deliver: (channel: string, envelope: Buffer) => void): void
  /**
   * MUST NOT throw, wait or keep more than a bounded number of bytes: `false` when it cannot be carried now, and is lost.
   *
   * @param onRefused - called at most once, and only after `true`: the storage has refused the envelope, and it is lost.
   */
  send(channel: string, envelope: Buffer, onRefused?: () => void): boolean
  /** MUST NOT throw or reject; settles when envelopes are heard, or when that cannot be known now and will come by itself. */
  listen(channel: string): Awaitable<void>
  ignore(channel: string): void
}

/** What a storage module's `open` answers: any of the four capabilities. */
export interface OpenStorage extends Partial<Storage> {
  /** Channels that feed the consumer chain. */
  readonly channels?: readonly string[]
  /** The way to the other nodes; absent: there are none. */
  readonly carrier?: Carrier
  /** Whether it can be reached now; absent: always. */
  readonly ready?: () => boolean
  /** The same by parts; absent: each is what `ready` says. */
  readonly checks?: () => StorageChecks
  /** Numbers for metrics, by names such as `reconnects_total`: read now and then, so they should cost nothing to keep. */
  readonly metrics?: () => Readonly<Record<string, number>>
  close?(): Awaitable<void>
}

export interface StorageModule<O extends OptionSpecs = OptionSpecs> {
  readonly options?: O
  /**
   * `instance` names this node among all: a UUID. MUST reject when it cannot be used, and let go of everything then; an
   * error whose `code` is `ERR_OPTION` is the operator's mistake (exit 2), any other a failure (exit 1).
   */
  open(host: {
    readonly options: OptionValues<O>
    readonly log: Logger
    readonly instance: string
  }): Awaitable<OpenStorage>
}
