import type { Client, LossReason, Position } from 'filtered-websocket'

/** A connection in a topic. */
export interface Member {
  /** Id of the client. */
  readonly client: string
  readonly user: string
  /** JSON as a string. */
  readonly info?: string
  /** Milliseconds since 1970. */
  readonly since: number
}

/** Clients and users of a topic. */
export interface PresenceCount {
  readonly clients: number
  /** Including users that have no client for less than `--presence-grace`. */
  readonly users: number
}

/** A page of the members of a topic. */
export interface MemberPage extends PresenceCount {
  /** Sorted by user. Includes the last client of a user that has disconnected, until the user leaves. */
  readonly members: readonly Member[]
  /** The position of the stream `@presence/TOPIC` at which the page is true. Later changes follow it. */
  readonly position: Position
  /** For `after` of the next page; absent on the last one. */
  readonly next?: string
}

/**
 * A change in a topic: the first client of a user has joined, the last one has left, or the topic has more users than
 * `--presence-max` (`crowded`), whose joins and leaves are not announced until there are fewer. `lost`: changes are missing, so the
 * list must be read again.
 */
export type PresenceChange =
  | { readonly join: ChangedUser }
  | { readonly leave: ChangedUser }
  | (PresenceCount & { readonly crowded: boolean })
  | { readonly lost: LossReason }

/** A user that has joined or left, with its first or last client. */
export interface ChangedUser {
  readonly user: string
  readonly client: string
  /** A JSON value. */
  readonly info?: unknown
}

/** How members are listed. */
export interface ListOptions {
  /** Members of a page: 1 to 10,000. Default: 1000. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
}

/** The api of `host.use('presence')` and `host.find('presence')`. */
export interface PresenceApi {
  /**
   * The members of a topic. A client that reads the first page and joins `@presence/TOPIC` at its position misses no change.
   *
   * @throws (rejects) FwsError `ERR_STATE`: no pattern of `--presence-topics` matches the topic. Error: the storage does not answer.
   */
  list(topic: string, how?: ListOptions): Promise<MemberPage>
  /** @throws (rejects) as `list` does. */
  count(topic: string): Promise<PresenceCount>
  /**
   * Calls a function with the changes of a topic on all nodes, in order, until the returned function is called. Its errors are logged.
   *
   * @throws FwsError `ERR_STATE`: no pattern of `--presence-topics` matches the topic.
   */
  watch(topic: string, onChange: (change: PresenceChange) => void): () => void
  /**
   * Names the user of a client in one topic, as its protocol has proven it; MUST be called before `client.join`, and holds for one
   * membership. Of more than 256 topics that a client has not joined, the oldest are dropped. Default: its identity, else its id.
   *
   * @param as - `user`: 1 to 256 characters. `info`: JSON as a string of at most 4 KiB.
   * @throws FwsError `ERR_PAYLOAD`: wrong user or info.
   */
  describe(client: Client, topic: string, as: { readonly user?: string; readonly info?: string }): void
  /** Whether a pattern of `--presence-topics` matches the topic. */
  covers(topic: string): boolean
  /** Numbers of this node: topics in use, memberships of its clients, and changes that wait for the storage. */
  gauges(): { readonly topics: number; readonly members: number; readonly waiting: number }
}

declare module 'filtered-websocket' {
  interface FilterApis {
    presence: PresenceApi
  }
}
