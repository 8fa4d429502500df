import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'

/** Bytes per millisecond of the slowest supported line: a peer may be silent while the bytes queued for it take that long. */
const MIN_RATE = 5

interface Pulse {
  readonly socket: Socket
  /** Bytes received up to the last beat; -1: the socket was paused. */
  bytesRead: number
  /** Beats in a row without a byte. */
  silent: number
}

/**
 * Detects TCP peers that are lost without a FIN, such as a drone with an empty battery. TCP's keepalive does that only while
 * no bytes are in flight; with bytes in flight TCP retries for 15 minutes.
 *
 * A peer that was silent from one beat to the next is asked for its id; if it is silent at the next beat too, its connection is
 * ended. Peers that have never sent an id may not answer requests, and are ignored, as are paused ones. A peer with a large
 * file queued on a slow line gets the time that the file takes.
 */
export class Heartbeat {
  readonly #pulses = new Map<Client, Pulse>()
  readonly #ask: (client: Client) => void
  readonly #interval: number

  /** @param interval - milliseconds between two beats. */
  constructor(interval: number, ask: (client: Client) => void) {
    this.#interval = interval
    this.#ask = ask
  }

  add(client: Client, socket: Socket): void {
    const forget = () => this.#pulses.delete(client)
    this.#pulses.set(client, { socket, bytesRead: -1, silent: 0 })
    socket.once('close', forget)
  }

  beat(): void {
    for (const [client, pulse] of this.#pulses) this.#check(client, pulse)
  }

  #check(client: Client, pulse: Pulse): void {
    const { socket } = pulse
    pulse.silent = socket.bytesRead === pulse.bytesRead ? pulse.silent + 1 : 0
    pulse.bytesRead = socket.isPaused() ? -1 : socket.bytesRead
    if (client.state.messaging === undefined) return
    const maxSilent = 2 + socket.writableLength / (this.#interval * MIN_RATE)
    if (pulse.silent >= maxSilent) socket.destroy()
    else if (pulse.silent === 1) this.#ask(client)
  }
}
