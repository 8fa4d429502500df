import { FwsError, type StreamPage } from 'filtered-websocket'
import type { ListOptions, Member, MemberPage } from './api.ts'
import { clientOf, clientsIn, type MemberRecord, TOTALS, totalsIn } from './attributes.ts'

const DEFAULT_LIMIT = 1000
const MAX_LIMIT = 10_000

/** The place of a member in the list. */
type Place = Pick<Member, 'user' | 'client'>

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

/** The list of a topic at a position. */
export class MemberList {
  readonly #members: readonly Member[]
  readonly #head: Pick<MemberPage, 'position' | 'clients' | 'users'>

  /** @param state - the stream of the topic. */
  constructor({ attributes, top }: Pick<StreamPage, 'attributes' | 'top'>) {
    this.#members = Object.entries(attributes)
      .flatMap(([key, json]) => {
        const client = clientOf(key)
        return client === undefined ? [] : [memberOf(client, JSON.parse(json))]
      })
      .sort(compare)
    const totals = totalsIn(attributes[TOTALS])
    this.#head = { position: top, clients: clientsIn(totals), users: totals.users }
  }

  page({ limit, after }: PageRange): MemberPage {
    const start = after === undefined ? 0 : this.#firstBehind(after)
    const members = this.#members.slice(start, start + limit)
    const last = start + limit < this.#members.length ? members.at(-1) : undefined
    return { members, ...this.#head, ...(last !== undefined && { next: JSON.stringify([last.user, last.client]) }) }
  }

  #firstBehind(place: Place): number {
    const index = this.#members.findIndex(member => compare(member, place) > 0)
    return index === -1 ? this.#members.length : index
  }
}

function memberOf(client: string, { user, info, since }: MemberRecord): Member {
  return info === undefined ? { client, user, since } : { client, user, info, since }
}

function compare(a: Place, b: Place): number {
  if (a.user !== b.user) return a.user < b.user ? -1 : 1
  return a.client < b.client ? -1 : a.client > b.client ? 1 : 0
}

/** `null` for a string that is no place. */
function placeIn(text: string): Place | null {
  try {
    const place: unknown = JSON.parse(text)
    if (!Array.isArray(place) || place.length !== 2) return null
    const [user, client] = place
    return typeof user === 'string' && typeof client === 'string' ? { user, client } : null
  } catch {
    return null
  }
}
