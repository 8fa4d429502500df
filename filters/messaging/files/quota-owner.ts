import type { Client } from 'filtered-websocket'

/** The identity whose quota a client uses, with all its connections; without one, the connection. An id proves nothing. */
export function quotaOwnerOf(client: Pick<Client, 'identity'>): unknown {
  return client.identity ?? client
}
