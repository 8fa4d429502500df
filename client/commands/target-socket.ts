import type { Socket } from 'node:net'
import { acceptedBytes, type Pinged } from 'filtered-websocket/kit'
import type { ClientOptions } from 'ws'
import { BatchingSocket } from '../batching-socket.ts'

/** A WebSocket with the counts that `Heartbeat` needs. */
export class TargetSocket extends BatchingSocket implements Pinged {
  #socket: Socket | undefined

  constructor(url: string | URL, protocols?: string[], options?: ClientOptions) {
    super(url, protocols, options)
    this.once('upgrade', ({ socket }) => {
      this.#socket = socket
    })
  }

  get bytesIn(): number {
    return this.#socket?.bytesRead ?? 0
  }

  get bytesOut(): number {
    return this.#socket === undefined ? 0 : acceptedBytes(this.#socket)
  }

  get isReadPaused(): boolean {
    return this.isPaused
  }
}
