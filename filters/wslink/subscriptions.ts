import type { Awaitable, Client } from 'filtered-websocket'
import { checkTopic } from './envelope.ts'
import { pack, unpackOwn } from './msgpack/pack.ts'
import type { Procedure } from './procedures.ts'
import { listenersOf } from './publisher.ts'
import type { Session } from './session.ts'

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
    const before = session.interests
    if (before?.size === MAX_TOPICS && !before.has(topic))
      throw new Error(`a client listens to ${MAX_TOPICS} topics at most`)
    const copy = copyOf(interest)
    checkMay(client, topic)
    const isFirst = before === undefined
    const isNew = before?.has(topic) !== true
    const interestBefore = before?.get(topic)
    // Before the hooks run, so that what they publish to this client reaches it.
    session.listen(topic, copy)
    const refuse = (error: unknown): never => {
      // Otherwise it has been unsubscribed from meanwhile, or its rights have ended.
      if (session.interests?.has(topic) === true) {
        if (isNew) session.ignore(topic)
        else session.listen(topic, interestBefore)
        if (isFirst && session.interests.size === 0) session.listenToAll()
      }
      throw error
    }
    try {
      const pending = this.#ask(topic, client, copy)
      if (pending === undefined) return true
      // Rights may have ended while hooks were waiting.
      return pending.then(() => checkMay(client, topic)).then(() => true as const, refuse)
    } catch (error) {
      return refuse(error)
    }
  }

  /** Rejects, or throws, when a hook refuses. */
  #ask(topic: string, client: Client, interest: unknown, from = 0): Promise<void> | undefined {
    for (const [i, hook] of this.#hooks.entries()) {
      if (i < from) continue
      const pending = hook(topic, client, interest)
      if (pending !== undefined) return Promise.resolve(pending).then(() => this.#ask(topic, client, interest, i + 1))
    }
  }

  /** Whether it was subscribed. Needs no permission. */
  #unsubscribe(session: Session, topic: unknown): boolean {
    checkTopic(topic)
    if (session.interests?.has(topic) !== true) return false
    session.ignore(topic)
    return true
  }
}

function checkMay(client: Client, topic: string): void {
  if (!client.may('join', listenersOf(topic))) throw new Error(`not allowed to listen to ${topic}`)
}

/** Small, and nothing that keeps the message alive which it came in. */
function copyOf(interest: unknown): unknown {
  if (interest === undefined || interest === null) return undefined
  const packed = Buffer.concat(pack(interest))
  if (packed.length > MAX_INTEREST)
    throw new Error(`what interests a client has at most ${MAX_INTEREST} bytes, received ${packed.length}`)
  return unpackOwn(packed)
}
