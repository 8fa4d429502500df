import type { Socket } from 'node:net'
import { type ClientOptions, WebSocket } from 'ws'

/** Bytes from which on a batch is written without waiting for the end of the turn. */
const BATCH = 4096

/** The WebSocket of `ws` with fewer system calls: messages of one turn of the event loop are written together. */
export class BatchingSocket extends WebSocket {
  #socket: Socket | undefined
  #isBatching = false

  constructor(url: string | URL, protocols?: string[], options?: ClientOptions) {
    super(url, protocols, options)
    this.once('upgrade', ({ socket }) => {
      this.#socket = socket
    })
  }

  override send(data: Parameters<WebSocket['send']>[0]): void {
    const socket = this.#socket
    if (socket !== undefined) this.#beginBatch(socket)
    super.send(data)
    if (socket === undefined || socket.writableLength < BATCH) return
    // The server works on this batch while the next one is made.
    socket.uncork()
    socket.cork()
  }

  #beginBatch(socket: Socket): void {
    if (this.#isBatching) return
    this.#isBatching = true
    socket.cork()
    queueMicrotask(() => {
      this.#isBatching = false
      socket.uncork()
    })
  }
}
