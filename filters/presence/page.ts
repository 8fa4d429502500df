import { FwsError, type StreamPage } from 'filtered-websocket'
import type { ListOptions, Member, MemberPage } from './api.ts'
import { clientOf, clientsIn, type MemberRecord, TOTALS, totalsIn } from './attributes.ts'

const DEFAULT_LIMIT = 1000
const MAX_LIMIT = 10_000
/** Between the user and the client of a place in the list. */
const SEPARATOR = '\0'

/** @throws FwsError `ERR_STATE` for a wrong limit or place. */
export function checkList({ limit = DEFAULT_LIMIT, after }: ListOptions): void {
  const isRight = Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT
  if (isRight && (after === undefined || typeof after === 'string')) return
  const wanted = `list() takes a limit from 1 to ${MAX_LIMIT} and a string in after`
  throw new FwsError('ERR_STATE', `${wanted}, received ${JSON.stringify({ limit, after })?.slice(0, 100)}`)
}

/** A page of the members in the state of a topic. */
export function pageOf({ attributes, top }: StreamPage, { limit = DEFAULT_LIMIT, after }: ListOptions): MemberPage {
  const found: (readonly [place: string, member: Member])[] = []
  for (const [key, json] of Object.entries(attributes)) {
    const client = clientOf(key)
    if (client === undefined) continue
    const { user, info, since }: MemberRecord = JSON.parse(json)
    const place = user + SEPARATOR + client
    if (after === undefined || place > after)
      found.push([place, { client, user, since, ...(info !== undefined && { info }) }])
  }
  found.sort(([a], [b]) => (a < b ? -1 : 1))
  const totals = totalsIn(attributes[TOTALS])
  return {
    members: found.slice(0, limit).map(([, member]) => member),
    position: top,
    ...(found.length > limit && { next: found[limit - 1]![0] }),
    clients: clientsIn(totals),
    users: totals.users,
  }
}
