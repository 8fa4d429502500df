import type { Client, Payload } from 'filtered-websocket'

declare module 'filtered-websocket' {
  interface ClientState {
    room?: string
  }
}

/** Joins the room in the URL (`?room=17`). */
export const open = (client: Client) => {
  client.state.room = client.handshake?.url.searchParams.get('room') ?? 'lobby'
  client.join(client.state.room)
}

/** Broadcasts each message to the others in the room. */
export const message = (payload: Payload, client: Client) =>
  client.server.broadcast(payload, { topic: client.state.room!, except: client })
