import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Client, Encoded } from 'filtered-websocket'
import { type Limiter, SerialQueue } from 'filtered-websocket/kit'
import type { Codecs } from './codecs.ts'

/** Bytes that a drained socket may still buffer. */
const DRAINED = 16_384
/** Milliseconds between checks of a client whose limit is below `DRAINED`. */
const POLL_INTERVAL = 20

/**
 * Sends the replies of a client in order, when its outbox has room: its own requests must not make it a slow client. Queued
 * replies share the bytes of the procedure.
 */
export class Replies {
  readonly #client: Client
  readonly #codecs: Codecs
  readonly #limiter: Limiter
  readonly #limit: number
  #queued = 0
  readonly #queue = new SerialQueue()
  #isClosed = false

  /**
   * @param limiter - counts the bytes of queued replies.
   * @param maxBuffered - bytes that may be queued for a client; replies use half of them.
   */
  constructor(client: Client, codecs: Codecs, limiter: Limiter, maxBuffered: number) {
    this.#client = client
    this.#codecs = codecs
    this.#limiter = limiter
    this.#limit = maxBuffered / 2
  }

  /** Returns `undefined` if it was sent, else a promise that resolves when it is, or the client has disconnected. */
  send(reply: Encoded): Promise<void> | undefined {
    const size = sizeOf(reply)
    if (this.#queued === 0 && this.#hasRoom(size)) {
      this.#deliver(reply)
      return undefined
    }
    this.#queued++
    this.#limiter.weigh(size)
    return this.#queue.run(async () => {
      await this.#untilRoom(size)
      this.#queued--
      this.#limiter.weigh(-size)
      if (!this.#isClosed) this.#deliver(reply)
    })
  }

  /** Resolves when no reply is queued and the client has room, but not in this turn of the event loop. */
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
      if (!this.#isClosed && !this.#hasRoom(size)) await sleep(POLL_INTERVAL, undefined, { ref: false })
    }
  }

  /** With an empty outbox a reply may have any size. */
  #hasRoom(size: number): boolean {
    const { buffered } = this.#client
    return buffered <= Math.min(DRAINED, this.#limit) || buffered + size <= this.#limit
  }

  #deliver(reply: Encoded): void {
    this.#codecs.sendEncoded(reply, (payload, format) => this.#client.send(payload, format))
  }
}

function sizeOf(encoded: Encoded): number {
  if (typeof encoded === 'string' || Buffer.isBuffer(encoded)) return Buffer.byteLength(encoded)
  let size = 0
  for (const message of encoded) {
    if (typeof message === 'string' || Buffer.isBuffer(message)) size += Buffer.byteLength(message)
    else for (const part of 'text' in message ? message.text : message) size += part.length
  }
  return size
}
