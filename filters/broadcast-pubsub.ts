import type { ChannelEvent, Server } from 'filtered-websocket'

export const describe = 'Send each event of the storage channels to all clients'

/** Every event of the storage's channels to everyone on this node; the other nodes get the event themselves. */
export const consumer = ({ payload }: ChannelEvent, server: Server) => server.broadcast(payload, { local: true })
