import type { Client, Host, OptionSpecs, Payload } from 'filtered-websocket'

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
} as const satisfies OptionSpecs

export const needs = ['sets'] as const

/** Characters. */
const MAX_TOKEN = 256
const WHOLE = /^\s*token:(\S+)\s*$/
const ANYWHERE = /token:(\S+)/

/** Groups by a word that they share: `token:WORD` joins, every later message goes to the others of the group. */
export const setup = ({ storage: { sets }, log, options: chosen }: Host<typeof options>) => {
  const pattern = chosen['broadcast-by-token-loose'] ? ANYWHERE : WHOLE
  /** Clients that the log has mentioned. */
  const warned = new WeakSet<Client>()
  const key = (token: string) => `broadcast-by-token:${token}`

  async function leave(client: Client): Promise<void> {
    const { token } = client.state
    if (token === undefined) return
    delete client.state.token
    client.leave(key(token))
    await sets.remove(key(token), client.id)
  }

  async function register(client: Client, token: string): Promise<void> {
    await leave(client)
    client.state.token = token
    client.join(key(token))
    await sets.add(key(token), client.id)
    client.send(`Successfully registered with broadcast group: ${token}`)
  }

  return {
    message(payload: Payload, client: Client) {
      const asked = pattern.exec(payload.toString())?.[1]
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
