import type { Permits } from '../chain/permits.ts'
import type { Attached, Audience, Client, Server, Target } from '../contract/client.ts'
import type { Awaitable } from '../contract/deadline.ts'
import type { Payload } from '../contract/payload.ts'
import type { Transport } from '../contract/transport.ts'

/**
 * The server as a client's filters see it where there are permits: what is broadcast through it, the client says.
 * Whoever has the server from elsewhere speaks for the server.
 */
export class ActingServer implements Server {
  readonly #server: Server
  readonly #permits: Permits
  readonly #client: Client

  constructor(server: Server, permits: Permits, client: Client) {
    this.#server = server
    this.#permits = permits
    this.#client = client
  }

  broadcast(payload: Payload, to: Audience = {}): void {
    this.#permits.check({ action: 'publish', topic: to.topic }, this.#client)
    this.#server.broadcast(payload, to)
  }

  publish(channel: string, payload: Payload): Awaitable<void> {
    return this.#server.publish(channel, payload)
  }
  disconnect(target: Target, code?: number, reason?: string): void {
    this.#server.disconnect(target, code, reason)
  }
  stop(why: string): void {
    this.#server.stop(why)
  }
  attach(transport: Transport): Attached {
    return this.#server.attach(transport)
  }
  get clients() {
    return this.#server.clients
  }
  get ready() {
    return this.#server.ready
  }
  get checks() {
    return this.#server.checks
  }
  get handlers() {
    return this.#server.handlers
  }
  get storageMetrics() {
    return this.#server.storageMetrics
  }
  get counters() {
    return this.#server.counters
  }
}
