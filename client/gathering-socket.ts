import type { Socket } from 'node:net'
import { WebSocket } from 'ws'

/** Bytes that wait for no more. */
const PIECE = 4096

/** The WebSocket of `ws`, but what is sent in one turn goes out in pieces, not each message in a write of its own. */
export class GatheringSocket extends WebSocket {
  #socket: Socket | undefined
  #isGathering = false

  constructor(url: string | URL, protocols?: string[]) {
    super(url, protocols)
    this.once('upgrade', ({ socket }) => {
      this.#socket = socket
    })
  }

  override send(data: Parameters<WebSocket['send']>[0]): void {
    const socket = this.#socket
    if (socket !== undefined) this.#gather(socket)
    super.send(data)
    if (socket === undefined || socket.writableLength < PIECE) return
    // The other side works on it while the next is made.
    socket.uncork()
    socket.cork()
  }

  #gather(socket: Socket): void {
    if (this.#isGathering) return
    this.#isGathering = true
    socket.cork()
    queueMicrotask(() => {
      this.#isGathering = false
      socket.uncork()
    })
  }
}
