import type { Client, Payload } from 'filtered-websocket'

/** Every message back to its sender. */
export const message = (payload: Payload, client: Client) => client.send(payload)
