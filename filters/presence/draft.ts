import type { NewEntry } from 'filtered-websocket'
import {
  clientsIn,
  isLeaving,
  type Leaving,
  type MemberRecord,
  memberKey,
  TOTALS,
  type Totals,
  totalsIn,
  type UserRecord,
  userKey,
} from './attributes.ts'

/** Changes and bytes of one append. */
const MAX_CHANGES = 200
const MAX_BYTES = 524_288
/** A crowded topic is no longer crowded below this fraction of `max`. */
const CALM = 0.8

/** A client of this node. */
export type LocalMember = Omit<MemberRecord, 'node'>

export interface DraftHost {
  /** Id of this node. */
  readonly node: string
  /** Users above which a topic is crowded. */
  readonly max: number
  /** Milliseconds since 1970. */
  readonly now: number
  /** Whether the members of a node may be removed: an id of this node, current or earlier, or of a dead one. */
  isRemovable(node: string): boolean
  /** Milliseconds between the disconnect of a user's last client, on `node`, and the leave of the user. */
  graceOf(node: string): number
}

/**
 * Changes of a topic's presence for one append: the attributes that it is made from (`when`), those that it changes (`set`), and the
 * entries for the clients that watch.
 */
export class Draft {
  readonly when: Record<string, string | null> = {}
  readonly set: Record<string, string | null> = {}
  readonly entries: NewEntry[] = []
  /** Drafted clients with their state on this node; `undefined`: they have left. */
  readonly clients = new Map<string, LocalMember | undefined>()
  /** Drafted users that leave. */
  readonly users: string[] = []
  readonly #known: ReadonlyMap<string, string>
  readonly #host: DraftHost
  #totals: Totals | undefined
  #looks = false
  #isQuiet = false
  #bytes = 0

  /** @param known - the attributes in the cache of this node; others count as absent. */
  constructor(known: ReadonlyMap<string, string>, host: DraftHost) {
    this.#known = known
    this.#host = host
  }

  /** Whether it neither changes nor compares attributes. */
  get isEmpty(): boolean {
    return this.#totals === undefined && !this.#looks
  }

  get isFull(): boolean {
    return this.clients.size + this.users.length >= MAX_CHANGES || this.#bytes > MAX_BYTES
  }

  /** Compares the totals, even without changes. */
  look(): void {
    this.#looks = true
    this.#get(TOTALS)
  }

  join(client: string, member: LocalMember): void {
    const { node } = this.#host
    this.clients.set(client, member)
    const { user } = member
    let known = this.#member(client)
    if (known !== undefined && known.user !== user) {
      this.#remove(client, known)
      known = undefined
    }
    const record = this.#user(user)
    if (known !== undefined && record !== undefined && !isLeaving(record)) {
      // Joined again meanwhile, or counted under an earlier id of this node.
      if (known.node === node && known.info === member.info) return
      this.#count(known.node, -1)
    } else if (isLeaving(record)) {
      this.#count(record.node, 0, -1)
      if (record.client !== client) this.#put(memberKey(record.client), null)
      this.#put(userKey(user), { clients: 1 })
    } else {
      this.#put(userKey(user), { clients: (record?.clients ?? 0) + 1 })
    }
    this.#count(node, 1)
    this.#put(memberKey(client), { ...member, node })
    if (record === undefined) {
      this.#countUsers(1)
      this.#announce('join', client, member)
    }
  }

  /** A client that has disconnected or left. Clients of other nodes that are alive stay. */
  leave(client: string): void {
    this.clients.set(client, undefined)
    const known = this.#member(client)
    if (known === undefined) return
    const record = this.#user(known.user)
    if (!this.#host.isRemovable(known.node) || isLeaving(record)) return
    const graceMs = this.#host.graceOf(known.node)
    if (record?.clients !== 1 || graceMs === 0) {
      this.#remove(client, known)
      return
    }
    const { node, now } = this.#host
    this.#count(known.node, -1)
    this.#count(node, 0, 1)
    this.#put(userKey(known.user), { clients: 0, due: now + graceMs, node, client })
  }

  /** A user without clients: leaves if that is due, else this node settles it later. */
  settle(user: string): void {
    this.users.push(user)
    const record = this.#user(user)
    if (!isLeaving(record)) return
    const { node, now } = this.#host
    if (record.due <= now) this.#end(user, record)
    else if (record.node !== node) {
      this.#count(record.node, 0, -1)
      this.#count(node, 0, 1)
      this.#put(userKey(user), { ...record, node })
    }
  }

  /** A dead node without members and users. */
  forget(node: string): void {
    delete this.#changed().nodes[node]
  }

  /** Removes a member at once. */
  #remove(client: string, known: MemberRecord): void {
    const record = this.#user(known.user)
    if (isLeaving(record)) {
      this.#end(known.user, record)
      return
    }
    this.#count(known.node, -1)
    this.#put(memberKey(client), null)
    if (record !== undefined && record.clients > 1) {
      this.#put(userKey(known.user), { clients: record.clients - 1 })
      return
    }
    this.#put(userKey(known.user), null)
    this.#countUsers(-1)
    this.#announce('leave', client, known)
  }

  /** The user leaves. */
  #end(user: string, { client, node }: Leaving): void {
    const member = this.#member(client)
    this.#count(node, 0, -1)
    this.#put(memberKey(client), null)
    this.#put(userKey(user), null)
    this.#countUsers(-1)
    this.#announce('leave', client, { user, info: member?.info })
  }

  #member(client: string): MemberRecord | undefined {
    const json = this.#get(memberKey(client))
    return json === undefined ? undefined : JSON.parse(json)
  }

  #user(user: string): UserRecord | undefined {
    const json = this.#get(userKey(user))
    return json === undefined ? undefined : JSON.parse(json)
  }

  #get(key: string): string | undefined {
    if (Object.hasOwn(this.set, key)) return this.set[key] ?? undefined
    const value = this.#known.get(key)
    this.when[key] = value ?? null
    return value
  }

  #put(key: string, value: object | null): void {
    const json = value === null ? null : JSON.stringify(value)
    this.#bytes += key.length + (json?.length ?? 0)
    this.set[key] = json
  }

  /** The totals, in the state of this draft. */
  #changed(): Totals {
    if (this.#totals === undefined) {
      this.#totals = totalsIn(this.#get(TOTALS))
      this.#totals.seq++
    }
    return this.#totals
  }

  #count(node: string, clients: number, leaving = 0): void {
    const totals = this.#changed()
    const [clientsBefore, leavingBefore] = totals.nodes[node] ?? [0, 0]
    const after = [Math.max(0, clientsBefore + clients), Math.max(0, leavingBefore + leaving)] as const
    if (after[0] + after[1] === 0) delete totals.nodes[node]
    else totals.nodes[node] = after
  }

  /** Announces when the topic becomes crowded, or calm again. */
  #countUsers(step: 1 | -1): void {
    const totals = this.#changed()
    const { max } = this.#host
    const wasCrowded = totals.crowded
    totals.users = Math.max(0, totals.users + step)
    totals.crowded = wasCrowded ? totals.users >= CALM * max : totals.users > max
    this.#isQuiet = wasCrowded || totals.crowded
    if (wasCrowded === totals.crowded) return
    const { crowded, users } = totals
    this.entries.push({ payload: JSON.stringify({ crowded, clients: clientsIn(totals), users }) })
  }

  #announce(what: 'join' | 'leave', client: string, { user, info }: Pick<LocalMember, 'user' | 'info'>): void {
    if (this.#isQuiet) return
    const change = JSON.stringify({ user, client })
    const withInfo = info === undefined ? change : `${change.slice(0, -1)},"info":${info}}`
    this.#bytes += withInfo.length
    this.entries.push({ payload: `{"${what}":${withInfo}}` })
  }

  /** Call once, when all changes are drafted. */
  finish(): void {
    if (this.#totals !== undefined) this.#put(TOTALS, this.#totals)
  }
}
