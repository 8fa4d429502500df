import type { Client, Server } from 'filtered-websocket'
import { FORMAT } from './codecs.ts'
import { checkTopic, publishOf } from './envelope.ts'
import { pack } from './msgpack/pack.ts'

/** The core topic of clients without subscriptions. */
export const ALL = 'wslink'

/** The core topic of the subscribers of a topic. */
export function coreTopicOf(topic: string): string {
  return `${ALL}/${topic}`
}

/** Restricts a publish to some of the clients that listen to its topic. */
export interface PublishAudience {
  /** Only this client. */
  readonly to?: Client
  /** All clients except this one. */
  readonly except?: Client
  /**
   * Only clients of this node for which this returns true; `interest` is the argument of the client's `wslink.subscribe`, if any.
   */
  readonly where?: (interest: unknown, client: Client) => boolean
}

interface Publish extends PublishAudience {
  readonly topic: string
  readonly packed: Buffer
}

/** Sends publishes in order to the clients that listen. */
export class Publisher {
  server: Server | undefined
  readonly #interestOf: (client: Client, topic: string) => unknown
  readonly #onError: (error: unknown) => void
  #isDeferring = false
  #isScheduled = false
  #deferred: Publish[] = []

  /** @param interestOf - the interest of a client in a topic. */
  constructor(interestOf: (client: Client, topic: string) => unknown, onError: (error: unknown) => void) {
    this.#interestOf = interestOf
    this.#onError = onError
  }

  /** @throws for an invalid topic, or data that cannot be serialized. */
  publish(topic: string, data: unknown, audience: PublishAudience = {}): void {
    checkTopic(topic)
    if (this.server === undefined) throw new Error(`publish("${topic}") before the server has started`)
    const publish = { ...audience, topic, packed: Buffer.concat(pack(publishOf(topic, data))) }
    if (this.#isDeferring || this.#deferred.length > 0) this.#deferred.push(publish)
    else this.#send(publish)
  }

  /** Defers publishes until `resume`, so that those of a procedure follow its reply (wslink, section 0). */
  defer(): void {
    this.#isDeferring = true
  }

  /** @param isAnswered - if false, deferred publishes are sent at the end of the turn, since the reply may follow soon. */
  resume(isAnswered: boolean): void {
    this.#isDeferring = false
    if (this.#deferred.length === 0 || this.#isScheduled) return
    if (isAnswered) {
      this.flush()
    } else {
      this.#isScheduled = true
      setImmediate(() => {
        this.#isScheduled = false
        this.flush()
      })
    }
  }

  /** Sends the deferred publishes. */
  flush(): void {
    for (const publish of this.#deferred.splice(0)) {
      try {
        this.#send(publish)
      } catch (error) {
        this.#onError(error)
      }
    }
  }

  #send({ topic, packed, to, except, where }: Publish): void {
    const server = this.server!
    const audience = { format: FORMAT, ...(except !== undefined && { except }) }
    const isRecipient = (client: Client) =>
      receives(client, topic) && (where === undefined || where(this.#interestOf(client, topic), client))
    if (to !== undefined) {
      if (to !== except && isRecipient(to)) to.send(packed, FORMAT)
    } else if (where !== undefined) {
      server.broadcast(packed, { ...audience, where: isRecipient })
    } else {
      // No client is a member of both topics.
      server.broadcast(packed, { ...audience, topic: ALL })
      server.broadcast(packed, { ...audience, topic: coreTopicOf(topic) })
    }
  }
}

/** Whether a client gets publishes on this topic. */
export function receives({ topics }: Client, topic: string): boolean {
  return topics.has(ALL) || topics.has(coreTopicOf(topic))
}
