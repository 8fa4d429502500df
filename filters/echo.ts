import type { Client, Payload } from 'filtered-websocket'

export const describe = 'Send each message back to its sender'

/** Every message back to its sender. */
export const message = (payload: Payload, client: Client) => client.send(payload)
