import type { Client, Codec } from 'filtered-websocket'

const codec: Codec = { name: 'as-it-is', encode: payload => payload }

/** Gives clients with this header a codec, so that protocol filters ignore them. */
export const connect = (client: Client) => {
  if (client.handshake!.headers['x-plain'] !== undefined) client.codec = codec
}
