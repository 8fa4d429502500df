import type { Socket } from 'node:net'
import { logError } from '../chain/report.ts'
import type { AcceptedConnection } from '../contract/peer.ts'
import type { Hub } from '../hub/hub.ts'

/** A socket in the accept chain. */
export class Accepted implements AcceptedConnection {
  readonly remote: string
  readonly #socket: Socket
  readonly #hub: Pick<Hub, 'counters' | 'log'>

  constructor(socket: Socket, remote: string, hub: Pick<Hub, 'counters' | 'log'>) {
    this.#socket = socket
    this.remote = remote
    this.#hub = hub
  }

  onClose(handler: () => void): void {
    this.#socket.once('close', () => {
      try {
        handler()
      } catch (error) {
        this.#hub.counters.errors++
        logError(this.#hub.log, 'error', error, 'a filter failed when a connection closed')
      }
    })
  }
}
