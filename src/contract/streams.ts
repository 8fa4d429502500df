import type { Awaitable } from './deadline.ts'
import { FwsError, shown } from './errors.ts'
import type { Payload } from './payload.ts'

/** The most that one append carries; a single entry may be larger. */
export const MAX_APPEND_ENTRIES = 256
export const MAX_APPEND_BYTES = 1_048_576

/** The name under which messages without a topic are kept. */
export const EVERYONE = '@everyone'

/** Prefix of the topics with joins and leaves: those of TOPIC are in `@presence/TOPIC`. */
export const PRESENCE = '@presence/'

/** A place in a stream: behind the entry with this offset; 0 is before the first one. */
export interface Position {
  /** 6 to 12 URL-safe characters, random, made with the stream. */
  readonly epoch: string
  readonly offset: number
}

/** Strings by name that belong to a stream, such as its content type. */
export type Attributes = Readonly<Record<string, string>>

/** How much of a topic is kept. */
export interface StreamBounds {
  /** Entries; at least 1. */
  readonly size: number
  /** Milliseconds that an entry is kept. */
  readonly ttlMs: number
  /** Bytes of the payloads of all entries; at least 1. Entries that were appended without this bound may count as empty. Default: not limited. */
  readonly bytes?: number | undefined
  /**
   * At its size, or its bytes, a stream drops the oldest entries (`trim`), or refuses the new ones (`refuse`). An entry with more than
   * `bytes` is not kept.
   */
  readonly full: 'trim' | 'refuse'
}

/** The answer of a `retain` handler: how a topic is kept. */
export interface Retention extends StreamBounds {
  /**
   * While the storage does not answer, entries wait (`wait`), are refused (`refuse`), or reach the clients of their node at once, and
   * all clients learn later that they may have missed some (`live`). Default: `wait`.
   */
  readonly away?: 'wait' | 'refuse' | 'live' | undefined
  /** Milliseconds that an entry waits at most. Default: 15,000. */
  readonly waitMs?: number | undefined
  /** Bytes that a client gets at most when it returns; one that has missed more gets none of them. Default: 4 MiB. */
  readonly recoverBytes?: number | undefined
}

function isAttributes(attributes: Append['when'] = {}): boolean {
  // No array of the values: each append is checked.
  for (const name in attributes) {
    const value: unknown = attributes[name]
    if (value !== null && typeof value !== 'string') return false
  }
  return true
}

/** @throws FwsError `ERR_PAYLOAD` unless keys and attributes are strings. */
export function checkAppend({ when, set, key }: Pick<Append, 'when' | 'set' | 'key'>): void {
  if ((key === undefined || typeof key === 'string') && isAttributes(when) && isAttributes(set)) return
  const wants = 'a string as key, and strings or null as attributes in when and set'
  throw new FwsError('ERR_PAYLOAD', `an append takes ${wants}, received ${shown({ key, when, set })}`)
}

/** A topic that is kept. */
export interface KeptTopic {
  readonly topic: string
  /** With the defaults. */
  readonly bounds: { readonly [K in keyof Retention]-?: Exclude<Retention[K], undefined> }
}

/** A topic with its bounds. */
export interface StreamRef {
  readonly topic: string
  readonly bounds: StreamBounds
}

export interface NewEntry {
  readonly payload: Payload
  /** ASCII, at most 64 characters. */
  readonly format?: string | undefined
  /** Id of a client that does not get the entry. */
  readonly except?: string | undefined
}

export interface StreamEntry extends NewEntry {
  /** 1, 2, 3 ... without holes in one epoch. */
  readonly offset: number
  /** Time of the append in milliseconds since 1970. */
  readonly at: number
  /** The call that appended it; equal for all its entries, different for any other call. */
  readonly origin: string
}

/** Entries that are appended together or not at all. */
export interface Append {
  /** May be empty: only the attributes change then. */
  readonly entries: readonly NewEntry[]
  /** Attributes that the stream must have; `null`: must not have. */
  readonly when?: Readonly<Record<string, string | null>> | undefined
  /** Attributes that change with this append; `null` removes one. */
  readonly set?: Readonly<Record<string, string | null>> | undefined
  /** A key that was used in this epoch in the last 10 minutes gives the same position again, and appends and compares nothing. */
  readonly key?: string | undefined
}

/** The caller of `append`. */
export interface Appender {
  /** UUID of the node. */
  readonly node: string
  /** An integer from 1 to 2^48 - 1, above that of the node's last call for this stream; the same if a call is repeated. */
  readonly call: number
  /** The highest position of this stream that the node knows. An offset above all tops makes a new epoch in any case. */
  readonly known?: Position | undefined
}

/** The outcome of one `Append`. */
export type AppendOutcome =
  | {
      /** The last of its entries; without entries the top. */
      readonly position: Position
      /** Whether an earlier append with this key gave the position. */
      readonly repeated: boolean
    }
  | {
      /** `full`: no room. `attributes`: `when` does not hold. */
      readonly refused: 'full' | 'attributes'
      /** Those that `when` names, so that a refusal does not cost more than the call. */
      readonly attributes: Attributes
      readonly top: Position
    }

/** Where to read; at most `entries`, whose payloads have at most `bytes` together. 0 entries: only the positions and the attributes. */
export type ReadRange =
  /** Oldest first, behind a position. The first entry is returned whatever its size. */
  | { readonly after: Position; readonly entries: number; readonly bytes: number }
  /** The oldest entries that are kept. */
  | { readonly from: 'oldest'; readonly entries: number; readonly bytes: number }
  /** The newest entries, oldest first. The newest one is returned whatever its size. */
  | { readonly from: 'newest'; readonly entries: number; readonly bytes: number }

/** Why entries behind a position cannot be read: another epoch, no longer kept, or the position is ahead of the top. */
export type LostReason = 'epoch' | 'trimmed' | 'ahead'

/** Why a client does not get the entries that it missed; `too much`: they are more than `recoverBytes`. */
export type LossReason = LostReason | 'too much'

/** How a client joins a kept topic. */
export interface JoinOptions {
  /** The position of the last entry that it has; `now`: none before; `earliest`: all that are kept. */
  readonly after: 'now' | 'earliest' | Position
  /**
   * Called once, in the turn in which the client becomes a member: what it sends comes before all later entries. Default: the
   * missed entries are sent as messages.
   */
  readonly onJoined?: ((joined: Joined) => void) | undefined
}

/** The outcome of a join at a position. */
export interface Joined {
  /** The position from which on the client is a member; `undefined` if the topic is not kept. */
  readonly position: Position | undefined
  /** Whether `entries` are all that it missed; otherwise it gets none. */
  readonly recovered: boolean
  readonly lost?: LossReason | undefined
  readonly entries: readonly StreamEntry[]
}

/** What a codec may know about a message to a topic. */
export interface About {
  readonly topic: string
  /** `undefined`: the topic is not kept. */
  readonly position?: Position | undefined
}

/** Up to where the members of a kept topic have lost entries. */
export interface Loss extends About {
  readonly position: Position
}

export interface StreamPage {
  /** All consecutive; empty if `lost` is set. The reader MUST NOT change their payloads. */
  readonly entries: readonly StreamEntry[]
  readonly top: Position
  /** The position before the oldest entry that is kept; the top if none is. */
  readonly floor: Position
  readonly attributes: Attributes
  readonly lost?: LostReason | undefined
}

/**
 * Watches a kept topic on one node, without a client; see `server.watch`. Errors, also of a promise that a function returns, are
 * logged.
 */
export interface TopicWatcher {
  /**
   * Each later entry, in the order of the offsets, also of this node. The watcher MUST NOT change its payload. Entries that reach only
   * the clients of their node (`away: 'live'`) have no position, and are not reported.
   */
  entry?(entry: StreamEntry, position: Position): void
  /** The entries up to this position are lost to the watcher. */
  lost?(position: Position, reason: LossReason): void
  /**
   * The topic may have changed: entries, attributes, the epoch, or a subscription was lost or renewed. Called once when this node follows
   * the topic, then at most once a turn: the watcher reads what it needs.
   */
  changed?(): void
}

/** What a node learns of a stream without asking. */
export interface Announcement {
  readonly topic: string
  /** The new top. */
  readonly top: Position
  /** The entries up to the top, consecutive; empty if the stream has changed otherwise: removed, a new epoch, other attributes. */
  readonly entries: readonly StreamEntry[]
}

/** The receiver of announcements. */
export interface StreamListener {
  announced(announcement: Announcement): void
  /** Subscriptions were lost or made again: announcements may be missing. Without `topics`: of all topics. */
  interrupted(topics?: readonly string[]): void
}

/**
 * Streams: the kept entries of topics.
 *
 * `append`, `read`, `trim` and `remove` MUST each be atomic. A method whose result is unknown (no answer in time, connection
 * lost) MUST reject; the caller calls `append` again with the same arguments, which MUST NOT append twice, and MUST return what the
 * first call would have returned. A stream that does not exist is made by `append`, `read` and `tops`, with a new epoch and the top 0. A
 * stream MUST exist for at least 10 times the time that its entries are kept, and for an hour, after its last use, unless the
 * storage is full; a full storage MUST NOT delete a stream with `refuse` that has entries, and refuses further ones as `full`. The last call of a node is remembered for an hour, of at least the last 256 nodes of a stream.
 *
 * Topics, keys, and names and values of attributes are any strings.
 */
export interface Streams {
  /** Called once, before all other methods. */
  start(listener: StreamListener): void
  /** Whether the storage answers commands. */
  isReady(): boolean
  /** Whether `append`, `tops` and `listen` answer without a promise: entries do not wait for others of the turn then. Default: false. */
  readonly isImmediate?: boolean
  /**
   * Appends each of `appends`, in order, and announces all entries together. A node MUST NOT call again for the same stream before
   * the last call has settled. If `appender.known` is of the stream's epoch and beyond its top, the storage has lost entries: a new
   * epoch MUST begin, without the old entries and attributes, before anything is appended. With no appends the call does only that.
   * Rejects a call with a lower number than the node's last one for this stream.
   *
   * @param appends - at most `MAX_APPEND_ENTRIES` entries and `MAX_APPEND_BYTES` together.
   */
  append(stream: StreamRef, appends: readonly Append[], appender: Appender): Awaitable<readonly AppendOutcome[]>
  read(stream: StreamRef, range: ReadRange): Awaitable<StreamPage>
  /** The tops, in the order of `streams`. */
  tops(streams: readonly StreamRef[]): Awaitable<readonly Position[]>
  /** Deletes the entries up to and including this position; nothing if it is of another epoch. */
  trim(stream: StreamRef, upTo: Position): Awaitable<void>
  /** Deletes the stream. A later one has another epoch. */
  remove(topic: string): Awaitable<void>
  /** Announcements of a topic arrive from now on. MUST NOT throw or reject. Settles when they do, or when a retry is needed. */
  listen(topic: string): Awaitable<void>
  ignore(topic: string): void
}
