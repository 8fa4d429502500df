import type { Client, Payload } from 'filtered-websocket'

declare module 'filtered-websocket' {
  interface ClientState {
    room?: string
  }
}

/** A client is in the room that its URL names (`?room=17`). */
export const open = (client: Client) => {
  client.state.room = client.handshake?.url.searchParams.get('room') ?? 'lobby'
  client.join(client.state.room)
}

/** Every message to everyone in the room but its sender. */
export const message = (payload: Payload, client: Client) =>
  client.server.broadcast(payload, { topic: client.state.room!, except: client })
