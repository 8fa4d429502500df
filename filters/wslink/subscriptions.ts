import type { Awaitable, Client } from 'filtered-websocket'
import { checkTopic } from './envelope.ts'
import { pack, unpackOwn } from './msgpack/pack.ts'
import type { Procedure } from './procedures.ts'
import { coreTopicOf } from './publisher.ts'
import type { Session } from './session.ts'

/** Topics to which a client can subscribe. */
const MAX_TOPICS = 256
/** Bytes of an interest as msgpack. */
const MAX_INTEREST = 4096

export type OnSubscribe = (topic: string, client: Client, interest: unknown) => Awaitable<void>

/** Subscriptions to topics. Official clients do not support them; clients without a subscription get all topics. */
export class Subscriptions {
  readonly #sessionOf: (client: Client) => Session
  readonly #hooks: OnSubscribe[] = []

  constructor(sessionOf: (client: Client) => Session) {
    this.#sessionOf = sessionOf
  }

  /** Adds a hook that refuses a subscription by throwing. */
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
      throw new Error(`a client can subscribe to at most ${MAX_TOPICS} topics`)
    const copy = copyOf(interest)
    checkAllowed(client, topic)
    const isFirst = before === undefined
    const isNew = before?.has(topic) !== true
    const interestBefore = before?.get(topic)
    // Before the hooks, so that the client gets their publishes.
    session.subscribe(topic, copy)
    const refuse = (error: unknown): never => {
      // Otherwise the client has unsubscribed or lost its rights meanwhile.
      if (session.interests?.has(topic) === true) {
        if (isNew) session.unsubscribe(topic)
        else session.subscribe(topic, interestBefore)
        if (isFirst && session.interests.size === 0) session.subscribeAll()
      }
      throw error
    }
    try {
      const pending = this.#runHooks(topic, client, copy)
      if (pending === undefined) return true
      // The client may have lost its rights meanwhile.
      return pending.then(() => checkAllowed(client, topic)).then(() => true as const, refuse)
    } catch (error) {
      return refuse(error)
    }
  }

  /** Throws or rejects if a hook refuses. */
  #runHooks(topic: string, client: Client, interest: unknown, from = 0): Promise<void> | undefined {
    for (const [i, hook] of this.#hooks.entries()) {
      if (i < from) continue
      const pending = hook(topic, client, interest)
      if (pending !== undefined)
        return Promise.resolve(pending).then(() => this.#runHooks(topic, client, interest, i + 1))
    }
  }

  /** Returns whether the client was subscribed. Needs no permission. */
  #unsubscribe(session: Session, topic: unknown): boolean {
    checkTopic(topic)
    if (session.interests?.has(topic) !== true) return false
    session.unsubscribe(topic)
    return true
  }
}

function checkAllowed(client: Client, topic: string): void {
  if (!client.may('join', coreTopicOf(topic))) throw new Error(`not allowed to listen to ${topic}`)
}

/** Copies an interest, so that it does not keep its message alive. */
function copyOf(interest: unknown): unknown {
  if (interest === undefined || interest === null) return undefined
  const packed = Buffer.concat(pack(interest))
  if (packed.length > MAX_INTEREST)
    throw new Error(`an interest has at most ${MAX_INTEREST} bytes, received ${packed.length}`)
  return unpackOwn(packed)
}
