import { FwsError, type StreamPage } from 'filtered-websocket'
import type { ListOptions, Member, MemberPage } from './api.ts'
import { clientOf, clientsIn, type MemberRecord, TOTALS, totalsIn } from './attributes.ts'

const DEFAULT_LIMIT = 1000
const MAX_LIMIT = 10_000

/** The place of a member in the list. */
type Place = readonly [user: string, client: string]

/** Which members of a list are in a page. */
export interface PageRange {
  readonly limit: number
  readonly after: Place | undefined
}

/** @throws FwsError `ERR_STATE` for a wrong limit, or an `after` that is no `next`. */
export function readRange({ limit = DEFAULT_LIMIT, after }: ListOptions): PageRange {
  const place = after === undefined ? undefined : placeIn(after)
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT && place !== null) return { limit, after: place }
  const wanted = `list() takes a limit from 1 to ${MAX_LIMIT} and the next of a page in after`
  throw new FwsError('ERR_STATE', `${wanted}, received ${JSON.stringify({ limit, after }).slice(0, 100)}`)
}

/** A page of the members in the state of a topic. */
export function pageOf({ attributes, top }: StreamPage, { limit, after }: PageRange): MemberPage {
  const members: Member[] = []
  for (const [key, json] of Object.entries(attributes)) {
    const client = clientOf(key)
    if (client === undefined) continue
    const { user, info, since }: MemberRecord = JSON.parse(json)
    if (after === undefined || compare([user, client], after) > 0)
      members.push({ client, user, since, ...(info !== undefined && { info }) })
  }
  members.sort((a, b) => compare([a.user, a.client], [b.user, b.client]))
  const last = members[limit - 1]
  const totals = totalsIn(attributes[TOTALS])
  return {
    members: members.slice(0, limit),
    position: top,
    ...(members.length > limit && { next: JSON.stringify([last!.user, last!.client]) }),
    clients: clientsIn(totals),
    users: totals.users,
  }
}

function compare([userA, clientA]: Place, [userB, clientB]: Place): number {
  if (userA !== userB) return userA < userB ? -1 : 1
  return clientA < clientB ? -1 : clientA > clientB ? 1 : 0
}

/** `null` for a string that is no place. */
function placeIn(text: string): Place | null {
  try {
    const place: unknown = JSON.parse(text)
    const isPlace = Array.isArray(place) && place.length === 2 && place.every(part => typeof part === 'string')
    return isPlace ? (place as unknown as Place) : null
  } catch {
    return null
  }
}
