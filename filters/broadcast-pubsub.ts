import type { ChannelEvent, Server } from 'filtered-websocket'

export const describe = 'Send each event of the storage channels to all clients'

/** Broadcasts the event to the clients of this node; other nodes get the event too. */
export const consumer = ({ payload }: ChannelEvent, server: Server) => server.broadcast(payload, { local: true })
