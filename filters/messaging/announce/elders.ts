import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Endpoint } from '../transport/endpoint.ts'
import { type Announcement, readAnnouncement } from './announcement.ts'

/** Hears of servers that were there before this one. Nothing proves what they say. */
export class Elders {
  readonly #socket: Socket

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /** @throws (rejects) what the system says, such as `EADDRINUSE`. */
  static async listen(at: Endpoint, own: Announcement, onElder: (elder: Announcement) => void): Promise<Elders> {
    const socket = createSocket({ type: isIPv6(at.host) ? 'udp6' : 'udp4', reuseAddr: true })
    socket.on('message', datagram => {
      const other = readAnnouncement(datagram)
      if (other !== undefined && isElder(other, own)) onElder(other)
    })
    await once(socket.bind(at.port, at.host), 'listening')
    // Of a datagram that could not be read: the next one may be.
    socket.on('error', () => {})
    return new Elders(socket)
  }

  close(): void {
    this.#socket.close()
  }
}

/** Of two that have started at the same instant, the one with the smaller id stays: never both, never none. */
function isElder(other: Announcement, own: Announcement): boolean {
  if (other.id === own.id) return false
  if (other.startTime === own.startTime) return other.id < own.id
  return other.startTime < own.startTime
}
