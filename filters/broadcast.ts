import type { Client, Payload } from '../src/types.ts'

/** Every message to everyone but its sender. */
export const message = (payload: Payload, client: Client) => client.server.broadcast(payload, { except: client })
