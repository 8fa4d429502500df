import type { Client, Server } from 'filtered-websocket'
import { FORMAT } from './codecs.ts'
import { checkTopic, publishOf } from './envelope.ts'
import { pack } from './msgpack/pack.ts'

/** The topic of the core that all clients are members of until they say what they listen to. */
export const ALL = 'wslink'

/** The topic of the core for those who listen to one topic. */
export function listenersOf(topic: string): string {
  return `${ALL}/${topic}`
}

/** Whom a publish is for, beside that they listen to its topic. */
export interface PublishAudience {
  /** Only this client. */
  readonly to?: Client
  /** Everyone but this client. */
  readonly except?: Client
  /**
   * Only clients for which this answers true; `interest` is what the client said with `wslink.subscribe`, else `undefined`.
   * A function cannot travel, so this node only.
   */
  readonly where?: (interest: unknown, client: Client) => boolean
}

interface Publish extends PublishAudience {
  readonly topic: string
  readonly packed: Buffer
}

/** Sends to those who listen, all in one order. */
export class Publisher {
  server: Server | undefined
  readonly #interestOf: (client: Client, topic: string) => unknown
  readonly #onError: (error: unknown) => void
  #isHeld = false
  #isScheduled = false
  #waiting: Publish[] = []

  /** @param interestOf - what a client said that interests it of a topic. */
  constructor(interestOf: (client: Client, topic: string) => unknown, onError: (error: unknown) => void) {
    this.#interestOf = interestOf
    this.#onError = onError
  }

  /** @throws when the topic is none, or the data cannot be serialised. */
  publish(topic: string, data: unknown, audience: PublishAudience = {}): void {
    checkTopic(topic)
    if (this.server === undefined) throw new Error(`publish("${topic}") before the server has started`)
    const publish = { ...audience, topic, packed: Buffer.concat(pack(publishOf(topic, data))) }
    if (this.#isHeld || this.#waiting.length > 0) this.#waiting.push(publish)
    else this.#send(publish)
  }

  /** Until `release`: a procedure begins, and what it publishes comes after its answer (wslink, section 0). */
  hold(): void {
    this.#isHeld = true
  }

  /** @param isAnswered - else the answer may be about to come, so what waits goes out at the end of the turn. */
  release(isAnswered: boolean): void {
    this.#isHeld = false
    if (this.#waiting.length === 0 || this.#isScheduled) return
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

  /** Sends what waits. */
  flush(): void {
    for (const publish of this.#waiting.splice(0)) {
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
    const isMeant = (client: Client) =>
      hears(client, topic) && (where === undefined || where(this.#interestOf(client, topic), client))
    if (to !== undefined) {
      if (to !== except && isMeant(to)) to.send(packed, FORMAT)
    } else if (where !== undefined) {
      server.broadcast(packed, { ...audience, where: isMeant })
    } else {
      // Nobody is a member of both.
      server.broadcast(packed, { ...audience, topic: ALL })
      server.broadcast(packed, { ...audience, topic: listenersOf(topic) })
    }
  }
}

/** Whether a publish on this topic is for a client. */
export function hears({ topics }: Client, topic: string): boolean {
  return topics.has(ALL) || topics.has(listenersOf(topic))
}
