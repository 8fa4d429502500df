import { setTimeout as sleep } from 'node:timers/promises'
import { commandError, type Incoming } from 'filtered-websocket/kit'
import { delayBefore } from '../backoff.ts'
import type { Topics, TopicsError } from '../topics.ts'
import type { Delivery } from './delivery.ts'
import { shown } from './handshake.ts'
import type { Target } from './target.ts'

/** Messages that are published together, and messages that may wait. */
const BATCH = 256
/** Milliseconds: bounds of the delays before messages are published again. */
const DELAYS = [500, 10_000] as const

/** Publishes to topics. A message without a reply, or with an error that the server calls temporary, is published again. */
export class TopicDelivery implements Delivery {
  readonly #target: Target
  readonly #topics: Topics
  readonly #topic: string
  readonly #opened: Promise<unknown>
  #queue: Incoming[] = []
  /** Messages without a reply. */
  #batch: readonly Incoming[] = []
  /** Settles when the queue is published, or the target has failed. */
  #publishing: Promise<void> | undefined

  constructor(target: Target, topic: string) {
    this.#target = target
    this.#topic = topic
    this.#topics = target.connectTopics()
    this.#opened = new Promise(resolve => this.#topics.on('open', resolve))
  }

  get pending(): number {
    return this.#queue.length + this.#batch.length
  }

  write(message: Incoming): Promise<void> | undefined {
    this.#queue.push(message)
    this.#publishing ??= this.#publish().catch(error => this.#target.fail(error))
    return this.#queue.length < BATCH ? undefined : this.#publishing
  }

  async finish(): Promise<void> {
    await this.#opened
    await this.#publishing
    await this.#target.end()
  }

  async #publish(): Promise<void> {
    // The other messages of this turn follow.
    await undefined
    let attempt = 0
    while (this.pending > 0 && this.#topics.state !== 'closed') {
      if (this.#batch.length === 0) [this.#batch, this.#queue] = [this.#queue, []]
      const error = await this.#publishBatch()
      if (error === undefined) attempt = 0
      else {
        this.#target.report(
          `messages that were not acknowledged are published again: ${this.#batch.length} (${shown(error.message)})`,
        )
        await sleep(delayBefore(attempt++, ...DELAYS))
      }
    }
    this.#publishing = undefined
  }

  /** Publishes the batch, and keeps the messages that are published again; returns the error of one of them. @throws Error: a refusal. */
  async #publishBatch(): Promise<TopicsError | undefined> {
    const errors = new Map<Incoming, TopicsError>()
    const publish = (message: Incoming) => {
      const { payload, topic = this.#topic } = message
      return this.#topics.publish(topic, dataOf(String(payload))).catch(error => errors.set(message, error))
    }
    await Promise.all(this.#batch.map(publish))
    this.#batch = this.#batch.filter(message => errors.has(message))
    for (const { code, temporary, message } of errors.values())
      if (typeof code === 'number' && !temporary)
        throw commandError(`${this.#target.name} refuses a message with ${code}: ${shown(message)}`)
    return errors.values().next().value
  }
}

/** The value that the protocol carries: an object or array that the text is in JSON, or else the text as a string. */
function dataOf(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
