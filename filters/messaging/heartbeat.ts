import type { Socket } from 'node:net'
import type { Client } from 'filtered-websocket'

interface Pulse {
  readonly socket: Socket
  /** Bytes that it had sent at the last beat; -1: we did not listen. */
  heard: number
  isAsked: boolean
}

/**
 * Finds peers on TCP that have gone without a word, such as a drone whose battery is empty. TCP's keepalive does that as
 * long as nothing is on its way to them; with the first thing that is, TCP tries for a quarter of an hour to bring it.
 *
 * Who was silent from one beat to the next is asked for its id; who is silent at the beat after that, too, is given up. A
 * peer that has never told an id may be one that answers nothing, and is left alone; so is one that we do not read.
 */
export class Heartbeat {
  readonly #pulses = new Map<Client, Pulse>()
  readonly #ask: (client: Client) => void

  constructor(ask: (client: Client) => void) {
    this.#ask = ask
  }

  add(client: Client, socket: Socket): void {
    const forget = () => this.#pulses.delete(client)
    this.#pulses.set(client, { socket, heard: -1, isAsked: false })
    socket.once('close', forget)
  }

  beat(): void {
    for (const [client, pulse] of this.#pulses) this.#check(client, pulse)
  }

  #check(client: Client, pulse: Pulse): void {
    const { socket, heard, isAsked } = pulse
    const isSilent = socket.bytesRead === heard
    pulse.heard = socket.isPaused() ? -1 : socket.bytesRead
    pulse.isAsked = isSilent
    if (!isSilent || client.state.messaging === undefined) return
    if (isAsked) socket.destroy()
    else this.#ask(client)
  }
}
