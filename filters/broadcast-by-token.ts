import type { Client, Host, OptionSpecs, Payload } from 'filtered-websocket'
import type {} from 'filtered-websocket/filters/jwt'
import { claimAt, optionError } from 'filtered-websocket/kit'

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
    describe: 'Find token:TOKEN anywhere in a message. Default: it is the whole message',
  },
  'broadcast-by-token-claim': {
    type: 'string',
    refuseEmpty: true,
    describe: "Claim of the client's JWT that names its group, instead of token:TOKEN; needs filter jwt",
  },
} as const satisfies OptionSpecs

export const needs = ['sets'] as const

/** Characters of a token. */
const MAX_TOKEN = 256
const ANYWHERE = /token:(\S{1,257})/
/** Bounded, so that matching takes constant time for a long message. */
const WHOLE = /^\s{0,64}token:(\S{1,256})\s{0,64}$/
/** Bytes; more than any message that `WHOLE` matches. */
const MAX_WHOLE = 2048

/**
 * Groups clients by token: `token:TOKEN` joins a group, later messages are sent to its other members. With
 * `--broadcast-by-token-claim` a claim checked by filter jwt names the group, and `token:TOKEN` has no effect.
 */
export const setup = ({ storage: { sets }, log, guards, options: chosen }: Host<typeof options>) => {
  const claim = chosen['broadcast-by-token-claim']
  if (claim !== undefined && !guards.includes('jwt')) {
    throw optionError(
      `--broadcast-by-token-claim ${claim} needs filter jwt, which checks claims: -f jwt broadcast-by-token`,
    )
  }
  const isLoose = chosen['broadcast-by-token-loose']
  /** Clients with a logged warning. */
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
    // Before leaving the current group: throws if the client may not join. Also after another filter removed it from this topic.
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

  function claimedGroup(client: Client): string | undefined {
    const value = claimAt(client.state.user ?? {}, claim!)
    return typeof value === 'string' ? value : undefined
  }

  /** Runs for each renewed token. A client that may not join the group that it names leaves its group. */
  async function update(client: Client): Promise<void> {
    const claimed = claimedGroup(client)
    const group = claimed !== undefined && client.may('join', key(claimed)) ? claimed : undefined
    if (group !== client.state.token) await leave(client)
    if (group !== undefined) await enter(client, group)
  }

  function open(client: Client): Promise<void> | undefined {
    client.onIdentity(update)
    const group = claimedGroup(client)
    return group === undefined ? undefined : enter(client, group)
  }

  return {
    ...(claim !== undefined && { open }),
    message(payload: Payload, client: Client) {
      const requested = claim === undefined ? tokenIn(payload) : undefined
      if (requested !== undefined && requested.length <= MAX_TOKEN) return register(client, requested)
      const { token } = client.state
      if (token !== undefined) return client.server.broadcast(payload, { topic: key(token), except: client })
      if (!warned.has(client)) log.warn({ client: client.id }, 'message without a token')
      warned.add(client)
      client.send('Error: No token has been set')
    },
    disconnect: leave,
  }
}
