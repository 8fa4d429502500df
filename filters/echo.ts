import type { Client, Payload } from '../src/types.ts'

/** Every message back to its sender. */
export const message = (payload: Payload, client: Client) => client.send(payload)
