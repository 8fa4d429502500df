import type { Client, Host, OptionSpecs, Payload } from 'filtered-websocket'
import type {} from 'filtered-websocket/filters/jwt'
import { optionError } from 'filtered-websocket/kit'

export const describe = 'Send each message to the other clients of the same group'

declare module 'filtered-websocket' {
  interface ClientState {
    token?: string
  }
}

export const options = {
  'broadcast-by-token-loose': {
    type: 'boolean',
    default: false,
    describe: 'take token:TOKEN anywhere in a message, not only as the whole of it',
  },
  'broadcast-by-token-claim': {
    type: 'string',
    describe: "claim of the client's JWT that names its group, in place of its own word; needs filter jwt",
  },
} as const satisfies OptionSpecs

export const needs = ['sets'] as const

/** Characters. */
const MAX_TOKEN = 256
const ANYWHERE = /token:(\S{1,257})/
/** Spaces are bounded, so that a long message is decided by its first characters. */
const WHOLE = /^\s{0,64}token:(\S{1,256})\s{0,64}$/
/** Bytes of the longest message that this pattern matches are fewer. */
const MAX_WHOLE = 2048

/**
 * Groups by a word that they share: `token:WORD` joins, every later message goes to the others of the group. Or by a
 * claim that filter jwt has checked; then a client's word moves nobody.
 */
export const setup = ({ storage: { sets }, log, guards, options: chosen }: Host<typeof options>) => {
  const claim = chosen['broadcast-by-token-claim']
  if (claim !== undefined && !guards.includes('jwt')) {
    throw optionError(
      `--broadcast-by-token-claim ${claim} needs filter jwt, which checks claims: -f jwt broadcast-by-token`,
    )
  }
  const isLoose = chosen['broadcast-by-token-loose']
  /** Clients that the log has mentioned. */
  const warned = new WeakSet<Client>()
  const key = (token: string) => `broadcast-by-token:${token}`

  function tokenIn(payload: Payload): string | undefined {
    if (isLoose) return ANYWHERE.exec(payload.toString())?.[1]
    return payload.length > MAX_WHOLE ? undefined : WHOLE.exec(payload.toString())?.[1]
  }

  async function leave(client: Client): Promise<void> {
    const { token } = client.state
    if (token === undefined) return
    delete client.state.token
    client.leave(key(token))
    await sets.remove(key(token), client.id)
  }

  async function enter(client: Client, token: string): Promise<void> {
    // Who may not join keeps the group that it has. Another filter may have made it leave this one.
    client.join(key(token))
    if (client.state.token === token) return
    await leave(client)
    client.state.token = token
    await sets.add(key(token), client.id)
  }

  async function register(client: Client, token: string): Promise<void> {
    await enter(client, token)
    client.send(`Successfully registered with broadcast group: ${token}`)
  }

  function roomOf(client: Client): string | undefined {
    const named = client.state.user?.[claim!]
    return typeof named === 'string' ? named : undefined
  }

  /** With every token that jwt takes later; who may not join the room that it names is in none. */
  async function follow(client: Client): Promise<void> {
    const named = roomOf(client)
    const room = named !== undefined && client.may('join', key(named)) ? named : undefined
    if (room !== client.state.token) await leave(client)
    if (room !== undefined) await enter(client, room)
  }

  function open(client: Client): Promise<void> | undefined {
    client.onIdentity(follow)
    const room = roomOf(client)
    return room === undefined ? undefined : enter(client, room)
  }

  return {
    ...(claim !== undefined && { open }),
    message(payload: Payload, client: Client) {
      const asked = claim === undefined ? tokenIn(payload) : undefined
      if (asked !== undefined && asked.length <= MAX_TOKEN) return register(client, asked)
      const { token } = client.state
      if (token !== undefined) return client.server.broadcast(payload, { topic: key(token), except: client })
      if (!warned.has(client)) log.warn({ client: client.id }, 'message without a token')
      warned.add(client)
      client.send('Error: No token has been set')
    },
    disconnect: leave,
  }
}
