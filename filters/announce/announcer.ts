import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Logger } from 'filtered-websocket'
import { type Endpoint, formatEndpoint } from 'filtered-websocket/kit'

/** Sends one datagram to a network or a machine, on each call of `send`. */
export class Announcer {
  readonly #socket: Socket
  readonly #to: Endpoint
  readonly #datagram: Buffer
  readonly #log: Logger
  #isSending = false
  #isFailing = false

  private constructor(socket: Socket, to: Endpoint, datagram: Buffer, log: Logger) {
    this.#socket = socket
    this.#to = to
    this.#datagram = datagram
    this.#log = log
    socket.on('error', error => this.#report(error))
  }

  /** @throws (rejects) the error of the system when no socket can be opened. */
  static async open(to: Endpoint, datagram: Buffer, log: Logger): Promise<Announcer> {
    const socket = createSocket(isIPv6(to.host) ? 'udp6' : 'udp4')
    await once(socket.bind(), 'listening')
    socket.setBroadcast(true)
    return new Announcer(socket, to, datagram, log)
  }

  /** Never throws. Does nothing while the last datagram waits for the lookup of the destination, which may take long. */
  send(): void {
    if (this.#isSending) return
    this.#isSending = true
    this.#socket.send(this.#datagram, this.#to.port, this.#to.host, error => {
      this.#isSending = false
      this.#report(error)
    })
  }

  close(): void {
    this.#socket.close()
  }

  /** Logs changes only: a network may be unreachable for hours. */
  #report(error: Error | null): void {
    const isFailing = error !== null
    if (isFailing === this.#isFailing) return
    this.#isFailing = isFailing
    const to = formatEndpoint(this.#to)
    if (isFailing) this.#log.warn({ err: error }, `announcements to ${to} fail`)
    else this.#log.info(`announcements to ${to} succeed again`)
  }
}
