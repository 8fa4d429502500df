import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'
import { acceptedBytes, type Pinged } from 'filtered-websocket/kit'

/**
 * A TCP peer in the heartbeat, which detects peers that are lost without a FIN, such as a drone with an empty battery. TCP's
 * keepalive does that only while no bytes are in flight; with bytes in flight TCP retries for 15 minutes.
 *
 * A ping is a request for the peer's id. Peers that have never sent one may not answer requests, and are not checked.
 */
export class Pulse implements Pinged {
  readonly #client: Client
  readonly #socket: Socket
  readonly #ask: (client: Client) => void

  /** @param ask - MUST NOT throw. */
  constructor(client: Client, socket: Socket, ask: (client: Client) => void) {
    this.#client = client
    this.#socket = socket
    this.#ask = ask
  }

  get bytesIn(): number {
    return this.#socket.bytesRead
  }

  get bytesOut(): number {
    return acceptedBytes(this.#socket)
  }

  get isReadPaused(): boolean {
    return this.#socket.isPaused() || this.#client.state.messaging === undefined
  }

  ping(): void {
    this.#ask(this.#client)
  }

  terminate(): void {
    this.#socket.destroy()
  }
}
