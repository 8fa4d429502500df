import type { Client } from 'filtered-websocket'

/** Whose share it is that a client takes: that of all connections of an identity. An id proves nothing, and is no reason to be refused. */
export function sharerOf(client: Pick<Client, 'identity'>): unknown {
  return client.identity ?? client
}
