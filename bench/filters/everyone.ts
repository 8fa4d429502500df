import type { Client, Payload } from 'filtered-websocket'

/** Broadcasts each message to all clients, including the sender. */
export const message = (payload: Payload, client: Client) => client.server.broadcast(payload)
