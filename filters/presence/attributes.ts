// The state of a topic: attributes of the stream `@presence/TOPIC`. Each is JSON, and changed by compare and set.

/** Name of the attribute with `Totals`. */
export const TOTALS = 'totals'
const MEMBER = 'member:'
const USER = 'user:'

/** The totals of a topic. */
export interface Totals {
  /** Changes so far. */
  seq: number
  users: number
  crowded: boolean
  /** Clients of each node, and users whose leave it settles. */
  nodes: Record<string, readonly [clients: number, leaving: number]>
}

/** A client in a topic. */
export interface MemberRecord {
  readonly user: string
  readonly node: string
  /** JSON as a string. */
  readonly info?: string | undefined
  readonly since: number
}

/** A user in a topic: the number of its clients, or how its leave is settled. */
export type UserRecord = { readonly clients: number } | Leaving

/** A user whose last client has left or disconnected. */
export interface Leaving {
  readonly clients: 0
  /** Milliseconds since 1970. */
  readonly due: number
  /** The node that settles it. */
  readonly node: string
  /** The last client, whose record stays. */
  readonly client: string
}

export const memberKey = (client: string): string => MEMBER + client
export const userKey = (user: string): string => USER + user

/** The client of an attribute; `undefined` for other attributes. */
export function clientOf(key: string): string | undefined {
  return key.startsWith(MEMBER) ? key.slice(MEMBER.length) : undefined
}

/** The user of an attribute; `undefined` for other attributes. */
export function userOf(key: string): string | undefined {
  return key.startsWith(USER) ? key.slice(USER.length) : undefined
}

/** Parses the totals into a new object; without JSON those of an empty topic. */
export function totalsIn(json: string | undefined): Totals {
  return json === undefined ? { seq: 0, users: 0, crowded: false, nodes: {} } : JSON.parse(json)
}

/** Clients of all nodes. */
export function clientsIn({ nodes }: Totals): number {
  return Object.values(nodes).reduce((sum, [clients]) => sum + clients, 0)
}

export function isLeaving(record: UserRecord | undefined): record is Leaving {
  return record?.clients === 0
}
