import type { Attributes } from 'filtered-websocket'
import { clientOf, isLeaving, type MemberRecord, memberKey, type UserRecord, userKey, userOf } from './attributes.ts'

/** Records of dead nodes in the state of a topic. */
export interface Remains {
  /** Their clients. */
  readonly clients: readonly string[]
  /** Users without clients whose leave they had to settle, with the time at which it is due. */
  readonly users: ReadonlyMap<string, number>
  /** The attributes of all of these. */
  readonly keys: readonly string[]
  /** Dead nodes without clients and users. */
  readonly empty: readonly string[]
}

export function remainsOf(dead: readonly string[], attributes: Attributes): Remains {
  const clients: string[] = []
  const users = new Map<string, number>()
  const keys: string[] = []
  const empty = new Set(dead)
  const isDead = new Set(dead)
  for (const [key, json] of Object.entries(attributes)) {
    const client = clientOf(key)
    const user = userOf(key)
    if (client !== undefined) {
      const member: MemberRecord = JSON.parse(json)
      const record: UserRecord | null = JSON.parse(attributes[userKey(member.user)] ?? 'null')
      // The last client of a user that leaves goes with it.
      if (!isDead.has(member.node) || isLeaving(record ?? undefined)) continue
      empty.delete(member.node)
      clients.push(client)
      keys.push(key, userKey(member.user))
    } else if (user !== undefined) {
      const record: UserRecord = JSON.parse(json)
      if (!isLeaving(record) || !isDead.has(record.node)) continue
      empty.delete(record.node)
      users.set(user, record.due)
      keys.push(key, memberKey(record.client))
    }
  }
  return { clients, users, keys, empty: [...empty] }
}
