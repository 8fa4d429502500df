import type { Client, Payload } from 'filtered-websocket'

export const describe = 'Send each message to all other clients'

/** Broadcasts the message to all clients except its sender. */
export const message = (payload: Payload, client: Client) => client.server.broadcast(payload, { except: client })
