import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** The answers of each connection, one after the other: only in its turn is the file of one opened. */
export class Turns {
  /** The last answer that is under way. */
  readonly #last = new WeakMap<Socket, Promise<void>>()

  /** Settles when those before it have gone out; then the connection may have ended. */
  async wait({ socket }: IncomingMessage, res: ServerResponse): Promise<void> {
    const before = this.#last.get(socket)
    this.#last.set(socket, new Promise(resolve => res.once('close', resolve)))
    await before
  }
}
