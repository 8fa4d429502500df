import type { Attached, Audience, Awaitable, Client, Payload, Server, Target, Transport } from '../contract/types.ts'
import type { Hub } from '../hub/hub.ts'

/**
 * The server as a client's filters see it where there are permits: what is broadcast through it, the client says.
 * Whoever has the server from elsewhere speaks for the server.
 */
export class Speaker implements Server {
  readonly #hub: Hub
  readonly #client: Client

  constructor(hub: Hub, client: Client) {
    this.#hub = hub
    this.#client = client
  }

  broadcast(payload: Payload, to: Audience = {}): void {
    this.#hub.chains.permits.check({ action: 'publish', topic: to.topic }, this.#client)
    this.#hub.broadcast(payload, to)
  }

  publish(channel: string, payload: Payload): Awaitable<void> {
    return this.#hub.publish(channel, payload)
  }
  disconnect(target: Target, code?: number, reason?: string): void {
    this.#hub.disconnect(target, code, reason)
  }
  stop(why: string): void {
    this.#hub.stop(why)
  }
  attach(transport: Transport): Attached {
    return this.#hub.attach(transport)
  }
  get clients() {
    return this.#hub.clients
  }
  get ready() {
    return this.#hub.ready
  }
  get checks() {
    return this.#hub.checks
  }
  get handlers() {
    return this.#hub.handlers
  }
  get storageMetrics() {
    return this.#hub.storageMetrics
  }
  get counters() {
    return this.#hub.counters
  }
}
