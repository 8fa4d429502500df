import type { ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import { acceptedBytes } from './accepted-bytes.ts'

/** Milliseconds in which a peer must take the end of the response. */
const CLOSE_TIMEOUT = 10_000
const TRY_AGAIN_LATER = 1013

/**
 * The body of a response as the socket of a transport. What the peer has not taken counts as unsent, so the limits for slow clients
 * apply. The end of the connection closes it, and its destruction ends the connection.
 *
 * @example
 * const socket = new ResponseStream(res)
 * const close = (code: number) => socket.finish(code)
 * const { closed } = server.attach({ name: 'events', remote: client.remote, socket, frame, close, ...more }, client)
 * socket.on('close', () => closed(1006, '', false))
 */
export class ResponseStream extends Duplex {
  readonly #res: ServerResponse

  constructor(res: ServerResponse) {
    super()
    this.#res = res
    res.once('close', () => this.destroy())
    // The end of the connection is reported by `close`.
    this.on('error', () => {})
  }

  /**
   * Ends the response after what was written. A peer that does not take it is disconnected after 10 seconds, and at once with the
   * close code of a slow client, 1013.
   */
  finish(code: number): void {
    if (code === TRY_AGAIN_LATER) {
      this.destroy()
      return
    }
    this.end()
    const timer = setTimeout(() => this.destroy(), CLOSE_TIMEOUT)
    timer.unref()
    this.once('close', () => clearTimeout(timer))
  }

  /** Bytes that the peer's connection has taken; 0 while the response waits for an earlier one. */
  get acceptedBytes(): number {
    const { socket } = this.#res
    return socket === null ? 0 : acceptedBytes(socket)
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#res.write(chunk, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#res.end(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#res.writableFinished) this.#res.destroy()
    done(error)
  }
}
