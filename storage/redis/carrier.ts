import type { Carrier } from 'filtered-websocket'
import { type Connection, RefusedError } from './connection.ts'
import type { Subscriptions } from './subscriptions.ts'
import { toUtf8Safe } from './utf8-safe.ts'

/** Carries envelopes on one Redis channel per topic; in a Redis Cluster on a sharded channel. */
export class RedisCarrier implements Carrier {
  readonly #connection: Connection
  readonly #subscriptions: Subscriptions
  readonly #prefix: string
  #deliver: (channel: string, envelope: Buffer) => void = () => {}

  constructor(connection: Connection, subscriptions: Subscriptions, prefix: string) {
    this.#connection = connection
    this.#subscriptions = subscriptions
    this.#prefix = prefix
  }

  start(deliver: (channel: string, envelope: Buffer) => void): void {
    this.#deliver = deliver
  }

  send(channel: string, envelope: Buffer, onRefused?: () => void): boolean {
    const command = this.#connection.isCluster ? 'SPUBLISH' : 'PUBLISH'
    const sent = this.#connection.publish(command, this.#nameOf(channel), envelope)
    // A lost answer is counted by the connection. The envelope is not sent again: it could arrive twice.
    sent?.catch(error => {
      if (error instanceof RefusedError) onRefused?.()
    })
    return sent !== undefined
  }

  listen(channel: string): Promise<void> {
    return this.#subscriptions.listen(this.#nameOf(channel), envelope => this.#deliver(channel, envelope))
  }

  ignore(channel: string): void {
    this.#subscriptions.ignore(this.#nameOf(channel))
  }

  #nameOf(channel: string): string {
    return this.#prefix + toUtf8Safe(channel)
  }
}
