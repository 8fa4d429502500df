import { type Client, type FilterApis, PRESENCE } from 'filtered-websocket'
import { CommandError } from './command-error.ts'
import { type Command, channelIn, type Request } from './commands.ts'

type Presence = FilterApis['presence']
export type MemberPage = Awaited<ReturnType<Presence['list']>>
type Member = Omit<MemberPage['members'][number], 'since'>
export type PresenceChange = Parameters<Parameters<Presence['watch']>[1]>[0]

/** The topic of `@presence/TOPIC`. */
export function watchedIn(channel: string): string | undefined {
  return channel.startsWith(PRESENCE) ? channel.slice(PRESENCE.length) : undefined
}

/** The commands about the members of a channel, for clients that may join it. */
export function memberCommands(presence: Presence | undefined): Readonly<Record<string, Command>> {
  return {
    async presence(client, request) {
      const { found, channel } = coveredIn(client, request)
      const { members } = await found.list(channel)
      return `{"presence":{${members.map(member => `${JSON.stringify(member.client)}:${infoOf(member)}`).join(',')}}}`
    },

    async presence_stats(client, request) {
      const { found, channel } = coveredIn(client, request)
      const { clients, users } = await found.count(channel)
      return `{"num_clients":${clients},"num_users":${users}}`
    },
  }

  function coveredIn(client: Client, request: Request): { readonly found: Presence; readonly channel: string } {
    const channel = channelIn(request)
    if (!client.may('join', channel)) throw new CommandError(103)
    if (presence?.covers(channel) !== true) throw new CommandError(108)
    return { found: presence, channel }
  }
}

/** The data of the reply to a subscription of `@presence/TOPIC`. */
export function listOf({ members, clients, users }: MemberPage): string {
  const listed = members.map(
    ({ client, user, info, since }) =>
      `{${identityOf({ client, user })}${info === undefined ? '' : `,"info":${info}`},"since":${since}}`,
  )
  return `{"members":[${listed.join(',')}],"clients":${clients},"users":${users}}`
}

/** The push of a join or a leave; there is none for other changes. */
export function changePush(channel: string, change: PresenceChange): string | undefined {
  const [kind, member] = 'join' in change ? ['join', change.join] : 'leave' in change ? ['leave', change.leave] : []
  if (member === undefined) return undefined
  const { client, user, info } = member
  // The info of a change is a value, that of a list JSON as a string.
  const changed = info === undefined ? { client, user } : { client, user, info: JSON.stringify(info) }
  return `{"push":{"channel":${JSON.stringify(channel)},"${kind}":{"info":${infoOf(changed)}}}}`
}

/** A member as the protocol shows it. */
export function infoOf({ info, ...member }: Member): string {
  return `{${identityOf(member)}${info === undefined ? '' : `,"conn_info":${info}`}}`
}

function identityOf({ client, user }: Pick<Member, 'client' | 'user'>): string {
  return `"client":${JSON.stringify(client)},"user":${JSON.stringify(user)}`
}
