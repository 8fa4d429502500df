import type { FilterApis } from 'filtered-websocket'
import { CommandError } from '../command-error.ts'
import { infoOf } from '../members.ts'
import { channelOf, notAvailable, type Params } from './params.ts'

type Presence = FilterApis['presence']

/** Members of one answer, and of one page. */
const MAX_MEMBERS = 10_000
const PAGE = 1000

/** All members of a channel. */
export async function presenceOf(presence: Presence | undefined, params: Params): Promise<string> {
  const { api, channel } = covered(presence, params)
  const members: string[] = []
  let after: string | undefined
  do {
    const page = await api.list(channel, { limit: PAGE, ...(after !== undefined && { after }) })
    members.push(...page.members.map(member => `${JSON.stringify(member.client)}:${infoOf(member)}`))
    after = page.next
  } while (after !== undefined && members.length < MAX_MEMBERS)
  if (after === undefined) return `{"presence":{${members.join()}}}`
  throw new CommandError({ code: 106, message: `more than ${MAX_MEMBERS} members; see presence_stats` })
}

export async function presenceStatsOf(presence: Presence | undefined, params: Params): Promise<string> {
  const { api, channel } = covered(presence, params)
  const { clients, users } = await api.count(channel)
  return JSON.stringify({ num_clients: clients, num_users: users })
}

function covered(api: Presence | undefined, params: Params): { readonly api: Presence; readonly channel: string } {
  const channel = channelOf(params.channel)
  if (api?.covers(channel)) return { api, channel }
  throw notAvailable('no presence of this channel; see -f presence and --presence-topics')
}
