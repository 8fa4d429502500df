import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'

/** Bytes a millisecond that a line has at least: so long a peer may be silent behind what waits for it. */
const SLOWEST = 5

interface Pulse {
  readonly socket: Socket
  /** Bytes that it had sent at the last beat; -1: we did not listen. */
  heard: number
  /** Beats in a row without a byte. */
  silent: number
}

/**
 * Finds peers on TCP that have gone without a word, such as a drone whose battery is empty. TCP's keepalive does that as
 * long as nothing is on its way to them; with the first thing that is, TCP tries for a quarter of an hour to bring it.
 *
 * Who was silent from one beat to the next is asked for its id; who is silent at the beat after that, too, is given up. A
 * peer that has never told an id may be one that answers nothing, and is left alone; so is one that we do not read. Who has
 * a large file before it on a slow line gets the time that this takes.
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
    this.#pulses.set(client, { socket, heard: -1, silent: 0 })
    socket.once('close', forget)
  }

  beat(): void {
    for (const [client, pulse] of this.#pulses) this.#check(client, pulse)
  }

  #check(client: Client, pulse: Pulse): void {
    const { socket } = pulse
    pulse.silent = socket.bytesRead === pulse.heard ? pulse.silent + 1 : 0
    pulse.heard = socket.isPaused() ? -1 : socket.bytesRead
    if (client.state.messaging === undefined) return
    const patience = 2 + socket.writableLength / (this.#interval * SLOWEST)
    if (pulse.silent >= patience) socket.destroy()
    else if (pulse.silent === 1) this.#ask(client)
  }
}
