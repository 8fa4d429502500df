import type { Client, Codec } from 'filtered-websocket'

const codec: Codec = { name: 'as-it-is', encode: payload => payload }

/** Clients with this header are no protocol filter's. */
export const connect = (client: Client) => {
  if (client.handshake!.headers['x-plain'] !== undefined) client.codec = codec
}
