import type { Payload } from 'filtered-websocket'
import { commandError, type Incoming } from 'filtered-websocket/kit'
import type { Connection } from '../connection.ts'
import { LOST } from '../reconnecting-socket.ts'
import type { Delivery } from './delivery.ts'
import type { Target } from './target.ts'

/** Bytes that may wait for an acknowledgement. */
const WINDOW = 8_388_608
/** Bytes that a message takes in addition to its own. */
const OVERHEAD = 64
/** Milliseconds between pings, since servers limit them. */
const INTERVAL = 50

/** Messages that one pong acknowledges. */
class Batch {
  readonly payloads: Payload[] = []
  bytes = 0

  add(payload: Payload): void {
    this.payloads.push(payload)
    this.bytes += OVERHEAD + Buffer.byteLength(payload)
  }
}

/**
 * Sends to any WebSocket server. A ping follows the messages, and its pong acknowledges them: a server handles frames in order. Messages
 * that are not acknowledged when the connection breaks are sent again on the next one.
 */
export class PlainDelivery implements Delivery {
  readonly #target: Target
  readonly #connection: Connection
  /** Batches by the number of their ping, the oldest first. */
  readonly #sent = new Map<number, Batch>()
  /** Messages since the last ping. */
  #batch = new Batch()
  #bytes = 0
  #pings = 0
  #timer: NodeJS.Timeout | undefined
  #wasOpen = false
  /** Called after each progress. */
  #onProgress = () => {}

  constructor(target: Target, connection: Connection) {
    this.#target = target
    this.#connection = connection
    connection.on('open', () => this.#open())
  }

  get pending(): number {
    let count = this.#batch.payloads.length
    for (const { payloads } of this.#sent.values()) count += payloads.length
    return count
  }

  write({ payload }: Incoming): Promise<void> | undefined {
    const { bytes } = this.#batch
    this.#batch.add(payload)
    this.#bytes += this.#batch.bytes - bytes
    this.#connection.sendNow(payload)
    this.#timer ??= setTimeout(() => this.#ping(), INTERVAL)
    return this.#bytes < WINDOW ? undefined : this.#until(() => this.#bytes < WINDOW)
  }

  async finish(): Promise<void> {
    this.#ping()
    await this.#until(() => this.#connection.state === 'open' && this.#bytes === 0)
    // The server answers the Close frame after the messages before it.
    const code = await this.#target.end()
    if (code === LOST)
      throw commandError(`the connection to ${this.#target.name} is lost at its end; the last messages may be lost`)
  }

  #open(): void {
    this.#target.socket!.on('pong', data => this.#acknowledge(Number(String(data))))
    const again = new Batch()
    for (const { payloads } of [...this.#sent.values(), this.#batch])
      for (const payload of payloads) {
        again.add(payload)
        this.#connection.sendNow(payload)
      }
    if (this.#wasOpen && again.payloads.length > 0)
      this.#target.report(`messages that were not acknowledged are sent again: ${again.payloads.length}`)
    this.#sent.clear()
    this.#batch = again
    this.#wasOpen = true
    this.#ping()
    this.#onProgress()
  }

  #ping(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#connection.state !== 'open' || this.#batch.bytes === 0) return
    this.#sent.set(++this.#pings, this.#batch)
    this.#batch = new Batch()
    this.#target.socket!.ping(String(this.#pings))
  }

  /** @param number - of a ping; a pong may answer several, and acknowledges the earlier ones too. Servers may send others. */
  #acknowledge(number: number): void {
    if (!this.#sent.has(number)) return
    for (const [ping, { bytes }] of this.#sent) {
      if (ping > number) break
      this.#sent.delete(ping)
      this.#bytes -= bytes
    }
    this.#onProgress()
  }

  #until(isDone: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#onProgress = () => {
        if (isDone()) resolve()
      }
      this.#onProgress()
    })
  }
}
