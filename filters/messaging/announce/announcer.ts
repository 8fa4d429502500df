import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Logger } from 'filtered-websocket'
import type { Endpoint } from '../transport/endpoint.ts'
import { type Announcement, writeAnnouncement } from './announcement.ts'

/** Tells a network, or one machine, where this server is. */
export class Announcer {
  readonly #socket: Socket
  readonly #to: Endpoint
  readonly #datagram: Buffer
  readonly #log: Logger
  #isSending = false
  #isFailing = false

  private constructor(socket: Socket, to: Endpoint, announcement: Announcement, log: Logger) {
    this.#socket = socket
    this.#to = to
    this.#datagram = writeAnnouncement(announcement)
    this.#log = log
    socket.on('error', error => this.#told(error))
  }

  /** @throws (rejects) what the system says when there is no socket to be had. */
  static async open(to: Endpoint, announcement: Announcement, log: Logger): Promise<Announcer> {
    const socket = createSocket(isIPv6(to.host) ? 'udp6' : 'udp4')
    await once(socket.bind(), 'listening')
    socket.setBroadcast(true)
    return new Announcer(socket, to, announcement, log)
  }

  /** Never throws. While the name of the destination is looked up, which may take long, nothing more is sent. */
  say(): void {
    if (this.#isSending) return
    this.#isSending = true
    this.#socket.send(this.#datagram, this.#to.port, this.#to.host, error => {
      this.#isSending = false
      this.#told(error)
    })
  }

  close(): void {
    this.#socket.close()
  }

  /** In the log only when it begins and when it ends: a network may be away for hours. */
  #told(error: Error | null): void {
    const isFailing = error !== null
    if (isFailing === this.#isFailing) return
    this.#isFailing = isFailing
    if (isFailing) this.#log.warn({ err: error }, 'messaging cannot announce itself')
    else this.#log.info('messaging announces itself again')
  }
}
