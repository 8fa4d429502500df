import type { Permits } from '../chain/permits.ts'
import type { Audience, Client, Server } from '../contract/client.ts'
import type { Payload } from '../contract/payload.ts'
import { ServerView } from './server-view.ts'

/**
 * The server as the filters of one client see it where there are permits: a broadcast through it is the client's own, and
 * needs permission. A filter that has the server from elsewhere broadcasts for the server.
 */
export class ActingServer extends ServerView {
  readonly #permits: Permits
  readonly #client: Client

  constructor(server: Server, permits: Permits, client: Client) {
    super(server)
    this.#permits = permits
    this.#client = client
  }

  /** @throws FwsError `ERR_FORBIDDEN`: the client may not publish there. */
  override broadcast(payload: Payload, to: Audience = {}): void {
    this.#permits.check({ action: 'publish', topic: to.topic }, this.#client)
    super.broadcast(payload, to)
  }
}

/** The server as the filters of an input with a topic see it: broadcasts that name no topic go there. */
export class TopicServer extends ServerView {
  readonly #topic: string

  constructor(server: Server, topic: string) {
    super(server)
    this.#topic = topic
  }

  override broadcast(payload: Payload, to: Audience = {}): void {
    super.broadcast(payload, { ...to, topic: to.topic ?? this.#topic })
  }
}
