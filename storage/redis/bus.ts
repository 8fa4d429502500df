import { isUtf8 } from 'node:buffer'
import type { Bus, Payload } from 'filtered-websocket'
import type { Connection } from './connection.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Prefix of binary payloads; valid UTF-8 does not begin with it. */
const BINARY = Buffer.from([0xff, 0x66, 0x77, 0x73])

interface Channel {
  readonly subscribers: Set<{ call(payload: Payload): void }>
  readonly listening: Promise<void>
}

/**
 * Application channels. Strings are published unchanged, so that other programs such as `redis-cli PUBLISH` can take part.
 * Buffers are published with the prefix FF 66 77 73; payloads without it are strings if they are valid UTF-8.
 */
export class RedisBus implements Bus {
  readonly #connection: Connection
  readonly #subscriptions: Subscriptions
  /** Prefix of the channels between nodes, which applications must not use. */
  readonly #reserved: string
  readonly #channels = new Map<string, Channel>()

  constructor(connection: Connection, subscriptions: Subscriptions, reserved: string) {
    this.#connection = connection
    this.#subscriptions = subscriptions
    this.#reserved = reserved
  }

  /** @throws Error if Redis is not reachable or --redis-buffer is full: the message is not sent. */
  async publish(channel: string, payload: Payload): Promise<void> {
    this.#refuseReserved(channel)
    const bytes = typeof payload === 'string' ? payload : Buffer.concat([BINARY, payload])
    const published = this.#connection.publish('PUBLISH', channel, bytes)
    if (published === undefined)
      throw new Error(
        `publish to "${channel}": redis at ${this.#connection.label} is not reachable, or --redis-buffer is full`,
      )
    await published
  }

  /** @throws Error if Redis refuses the channel to this user. */
  async subscribe(channel: string, deliver: (payload: Payload) => void): Promise<() => void> {
    this.#refuseReserved(channel)
    const entry = this.#channels.get(channel) ?? this.#listen(channel)
    const subscriber = { call: deliver }
    entry.subscribers.add(subscriber)
    const unsubscribe = () => {
      subscriber.call = () => {}
      entry.subscribers.delete(subscriber)
      if (entry.subscribers.size > 0 || this.#channels.get(channel) !== entry) return
      this.#channels.delete(channel)
      this.#subscriptions.ignore(channel)
    }
    await entry.listening
    const refusal = this.#subscriptions.refusalOf(channel)
    if (refusal === undefined) return unsubscribe
    unsubscribe()
    throw new Error(`redis refuses channel "${channel}": ${refusal}`)
  }

  #listen(channel: string): Channel {
    const subscribers: Channel['subscribers'] = new Set()
    const listening = this.#subscriptions.listen(channel, bytes => {
      const payload = payloadOf(bytes)
      // Each subscriber gets its own copy, which it may change.
      for (const subscriber of [...subscribers])
        subscriber.call(typeof payload === 'string' ? payload : Buffer.from(payload))
    })
    const entry = { subscribers, listening }
    this.#channels.set(channel, entry)
    return entry
  }

  #refuseReserved(channel: string): void {
    if (channel.startsWith(this.#reserved))
      throw new Error(`channel "${channel}" is reserved: nodes use the channels that begin with ${this.#reserved}`)
  }
}

function payloadOf(bytes: Buffer): Payload {
  if (bytes.subarray(0, BINARY.length).equals(BINARY)) return bytes.subarray(BINARY.length)
  return isUtf8(bytes) ? bytes.toString() : bytes
}
