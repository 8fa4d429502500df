import type { Client, Payload } from 'filtered-websocket'

export const describe = 'Send each message back to its sender'

/** Sends the message back. */
export const message = (payload: Payload, client: Client) => client.send(payload)
