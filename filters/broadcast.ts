import type { Client, Payload } from 'filtered-websocket'

export const describe = 'Send each message to all other clients'

/** Every message to everyone but its sender. */
export const message = (payload: Payload, client: Client) => client.server.broadcast(payload, { except: client })
