import { isUtf8 } from 'node:buffer'
import type { Bus, Payload } from 'filtered-websocket'
import type { Connection } from './connection.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Before bytes that came as a Buffer: no UTF-8 text begins so, and so they are told from text. */
const BINARY = Buffer.from([0xff, 0x66, 0x77, 0x73])

interface Channel {
  readonly deliver: Set<{ call(payload: Payload): void }>
  readonly listening: Promise<void>
}

/**
 * Application channels, as they are: text is published as its bytes, so that `redis-cli PUBLISH` and any other program
 * takes part. A Buffer is published behind the bytes FF 66 77 73; what comes without them is text if it is UTF-8.
 */
export class RedisBus implements Bus {
  readonly #connection: Connection
  readonly #subscriptions: Subscriptions
  /** What channels between nodes begin with: not for applications. */
  readonly #reserved: string
  readonly #channels = new Map<string, Channel>()

  constructor(connection: Connection, subscriptions: Subscriptions, reserved: string) {
    this.#connection = connection
    this.#subscriptions = subscriptions
    this.#reserved = reserved
  }

  /** @throws Error when Redis is not reached, or too much waits for it; then nobody got it. */
  async publish(channel: string, payload: Payload): Promise<void> {
    this.#refuseReserved(channel)
    const bytes = typeof payload === 'string' ? payload : Buffer.concat([BINARY, payload])
    const published = this.#connection.publish('PUBLISH', channel, bytes)
    if (published === undefined)
      throw new Error(`publish to "${channel}": redis at ${this.#connection.label} is not reached, or too far behind`)
    await published
  }

  /** @throws Error when Redis refuses the channel to this user. */
  async subscribe(channel: string, deliver: (payload: Payload) => void): Promise<() => void> {
    this.#refuseReserved(channel)
    const known = this.#channels.get(channel) ?? this.#listen(channel)
    const subscriber = { call: deliver }
    known.deliver.add(subscriber)
    const unsubscribe = () => {
      subscriber.call = () => {}
      known.deliver.delete(subscriber)
      if (known.deliver.size > 0 || this.#channels.get(channel) !== known) return
      this.#channels.delete(channel)
      this.#subscriptions.ignore(channel)
    }
    await known.listening
    const refusal = this.#subscriptions.refusalOf(channel)
    if (refusal === undefined) return unsubscribe
    unsubscribe()
    throw new Error(`redis refuses channel "${channel}": ${refusal}`)
  }

  #listen(channel: string): Channel {
    const subscribers: Channel['deliver'] = new Set()
    const listening = this.#subscriptions.listen(channel, bytes => {
      const payload = payloadOf(bytes)
      // One that changes its bytes must not change those of the others.
      for (const subscriber of [...subscribers])
        subscriber.call(typeof payload === 'string' ? payload : Buffer.from(payload))
    })
    const made = { deliver: subscribers, listening }
    this.#channels.set(channel, made)
    return made
  }

  #refuseReserved(channel: string): void {
    if (channel.startsWith(this.#reserved))
      throw new Error(`channel "${channel}" is reserved: those that begin with ${this.#reserved} are the nodes' own`)
  }
}

function payloadOf(bytes: Buffer): Payload {
  if (bytes.subarray(0, BINARY.length).equals(BINARY)) return bytes.subarray(BINARY.length)
  return isUtf8(bytes) ? bytes.toString() : bytes
}
