import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Client, Encoded } from 'filtered-websocket'
import { type Limiter, SerialQueue } from 'filtered-websocket/kit'
import type { Codecs } from './codecs.ts'

/** Bytes that a socket keeps when it is said to be drained. */
const LITTLE = 16_384
/** Milliseconds between two looks at a client of which so little may wait that being drained does not tell. */
const LOOK_EVERY = 20

/**
 * Sends answers to one client, in order, as it has room for them: what it asked for itself must not make it a slow
 * client. Bytes in an answer that waits are those of the procedure, not a copy.
 */
export class Replies {
  readonly #client: Client
  readonly #codecs: Codecs
  readonly #limiter: Limiter
  readonly #limit: number
  #waiting = 0
  readonly #queue = new SerialQueue()
  #isClosed = false

  /**
   * @param limiter - counts the bytes of answers that wait.
   * @param maxBuffered - bytes that may wait for a client; answers take half of them.
   */
  constructor(client: Client, codecs: Codecs, limiter: Limiter, maxBuffered: number) {
    this.#client = client
    this.#codecs = codecs
    this.#limiter = limiter
    this.#limit = maxBuffered / 2
  }

  /** `undefined`: it was sent; else that settles when it has been, or when nobody is there any more. */
  send(reply: Encoded): Promise<void> | undefined {
    const size = sizeOf(reply)
    if (this.#waiting === 0 && this.#hasRoom(size)) {
      this.#hand(reply)
      return undefined
    }
    this.#waiting++
    this.#limiter.weigh(size)
    return this.#queue.run(async () => {
      await this.#untilRoom(size)
      this.#waiting--
      this.#limiter.weigh(-size)
      if (!this.#isClosed) this.#hand(reply)
    })
  }

  /** Settles when nothing waits and the client has room, never in this turn of the event loop. */
  async room(): Promise<void> {
    await setImmediate()
    await this.#queue.settled
    await this.#untilRoom(0)
  }

  close(): void {
    this.#isClosed = true
  }

  async #untilRoom(size: number): Promise<void> {
    while (!this.#isClosed && !this.#hasRoom(size)) {
      await this.#client.drained()
      if (!this.#isClosed && !this.#hasRoom(size)) await sleep(LOOK_EVERY, undefined, { ref: false })
    }
  }

  /** One answer alone may be of any size. */
  #hasRoom(size: number): boolean {
    const { buffered } = this.#client
    return buffered <= Math.min(LITTLE, this.#limit) || buffered + size <= this.#limit
  }

  #hand(reply: Encoded): void {
    this.#codecs.hand(reply, (payload, format) => this.#client.send(payload, format))
  }
}

function sizeOf(encoded: Encoded): number {
  if (typeof encoded === 'string' || Buffer.isBuffer(encoded)) return Buffer.byteLength(encoded)
  let size = 0
  for (const message of encoded) {
    if (typeof message === 'string' || Buffer.isBuffer(message)) size += Buffer.byteLength(message)
    else for (const part of message) size += part.length
  }
  return size
}
