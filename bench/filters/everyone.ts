import type { Client, Payload } from 'filtered-websocket'

/** Every message to everyone, its sender included. */
export const message = (payload: Payload, client: Client) => client.server.broadcast(payload)
