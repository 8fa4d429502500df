import type { Awaitable, Client } from 'filtered-websocket'
import { checkTopic } from './envelope.ts'
import type { Procedure } from './procedures.ts'
import { ALL, listenersOf } from './publisher.ts'
import type { Session } from './session.ts'
import { pack, unpackOwn } from './v2/pack.ts'

/** Topics that one client may listen to. */
const MAX_TOPICS = 256
/** Bytes of what it may say about each, as msgpack. */
const MAX_INTEREST = 4096

export type OnSubscribe = (topic: string, client: Client, interest: unknown) => Awaitable<void>

/** Lets clients say what they listen to, which official ones do not know of: until they do, they get everything. */
export class Subscriptions {
  readonly #sessionOf: (client: Client) => Session
  readonly #hooks: OnSubscribe[] = []

  constructor(sessionOf: (client: Client) => Session) {
    this.#sessionOf = sessionOf
  }

  /** One that throws refuses. */
  add(hook: OnSubscribe): void {
    this.#hooks.push(hook)
  }

  /** `wslink.subscribe` and `wslink.unsubscribe`. */
  proceduresFor(caller: () => Client): Readonly<Record<'subscribe' | 'unsubscribe', Procedure>> {
    return {
      subscribe: (topic: unknown, interest?: unknown) => this.#subscribe(this.#sessionOf(caller()), topic, interest),
      unsubscribe: (topic: unknown) => this.#unsubscribe(this.#sessionOf(caller()), topic),
    }
  }

  #subscribe(session: Session, topic: unknown, interest: unknown): Awaitable<true> {
    checkTopic(topic)
    const { client } = session
    const isNew = session.interests?.has(topic) !== true
    if (isNew && session.interests?.size === MAX_TOPICS)
      throw new Error(`a client listens to ${MAX_TOPICS} topics at most`)
    const copy = copyOf(interest)
    if (!client.may('join', listenersOf(topic))) throw new Error(`not allowed to listen to ${topic}`)
    client.join(listenersOf(topic))
    client.leave(ALL)
    session.interests ??= new Map()
    session.interests.set(topic, copy)
    session.chooseCodec()
    return this.#ask(session, topic, copy)
  }

  /** Hooks come after the join, so that what they publish to this client reaches it. */
  #ask(session: Session, topic: string, interest: unknown): Awaitable<true> {
    const refuse = (error: unknown): never => {
      this.#unsubscribe(session, topic)
      throw error
    }
    try {
      for (const [i, hook] of this.#hooks.entries()) {
        const pending = hook(topic, session.client, interest)
        if (pending !== undefined)
          return this.#askRest(Promise.resolve(pending), i + 1, session, topic, interest).catch(refuse)
      }
    } catch (error) {
      refuse(error)
    }
    return true
  }

  async #askRest(
    pending: Promise<void>,
    next: number,
    session: Session,
    topic: string,
    interest: unknown,
  ): Promise<true> {
    await pending
    for (const hook of this.#hooks.slice(next)) await hook(topic, session.client, interest)
    return true
  }

  /** Whether it listened. */
  #unsubscribe(session: Session, topic: unknown): boolean {
    checkTopic(topic)
    if (session.interests?.delete(topic) !== true) return false
    session.client.leave(listenersOf(topic))
    session.chooseCodec()
    return true
  }
}

/** Small, and nothing that keeps the message alive which it came in. */
function copyOf(interest: unknown): unknown {
  if (interest === undefined || interest === null) return undefined
  const packed = Buffer.concat(pack(interest))
  if (packed.length > MAX_INTEREST)
    throw new Error(`what interests a client has at most ${MAX_INTEREST} bytes, received ${packed.length}`)
  return unpackOwn(packed)
}
