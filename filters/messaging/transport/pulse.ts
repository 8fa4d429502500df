import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'
import { acceptedBytes, type Pinged } from 'filtered-websocket/kit'

/**
 * A TCP peer in the heartbeat, which detects peers that are lost without a FIN, such as a drone with an empty battery. TCP's
 * keepalive does that only while no bytes are in flight; with bytes in flight TCP retries for 15 minutes.
 *
 * @param requestId - the ping, which MUST NOT throw. Peers that have never sent an id may not answer requests, and are not checked.
 */
export function pulseOf(client: Client, socket: Socket, requestId: (client: Client) => void): Pinged {
  return {
    get bytesIn() {
      return socket.bytesRead
    },
    get bytesOut() {
      return acceptedBytes(socket)
    },
    get isReadPaused() {
      return socket.isPaused() || client.state.messaging === undefined
    },
    ping: () => requestId(client),
    terminate: () => void socket.destroy(),
  }
}
