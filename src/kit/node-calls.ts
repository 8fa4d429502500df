import { randomUUID } from 'node:crypto'
import type { Awaitable } from '../contract/deadline.ts'
import type { Payload } from '../contract/payload.ts'
import type { Bus, Sets } from '../contract/storage.ts'
import { answerInTime } from './answer-in-time.ts'
import { type NodeRegistry, nodesKeyOf } from './node-registry.ts'
import { CallFailed, type CallOptions, type PendingCall, PendingCalls } from './pending-calls.ts'

/** Calls of a node that wait for their answers. */
const MAX_CALLS = 10_000
/** Channels of the newest ids of this node: answers to an earlier id may be on their way. */
const MAX_CHANNELS = 2

export interface NodeCallsOptions {
  readonly bus: Bus
  readonly sets: Sets
  /** Of the channels, `PREFIX:node:ID`, and of the set of the nodes, `PREFIX:nodes`. */
  readonly prefix: string
  /** A registry with the same prefix: it names this node, and a call of a dead node fails at once. Default: a random id in the set. */
  readonly registry?: NodeRegistry | undefined
  /** The answer of this node, which JSON can represent; the caller gets `failed` if it throws or rejects. */
  answer(question: unknown, from: string): Awaitable<unknown>
}

interface NodeCall extends PendingCall {
  readonly id: string
  readonly node: string
}

type Message =
  | { readonly call: string; readonly from: string; readonly question: unknown }
  | { readonly call: string; readonly answer: unknown }
  | { readonly call: string; readonly failed: true }

/**
 * Questions between the nodes that use a filter, over the storage's bus.
 *
 * @example
 * const calls = new NodeCalls({ ...host.storage, prefix: 'mine', answer: () => server.clients.size })
 * await calls.start()
 * const clientsByNode = await calls.askAll('clients', { timeout: 1000 })
 */
export class NodeCalls {
  readonly #options: NodeCallsOptions
  readonly #calls = new PendingCalls<NodeCall>(MAX_CALLS, 'the node bus')
  readonly #ownId = randomUUID()
  /** The subscription of each id of this node, oldest first. */
  readonly #channels = new Map<string, Promise<() => Awaitable<void>>>()

  constructor(options: NodeCallsOptions) {
    this.#options = options
    options.registry?.listen({
      // If this fails, the next `start` subscribes.
      onRenamed: () => void this.start().catch(() => {}),
      onDied: () => this.#rejectDead(),
    })
  }

  get id(): string {
    return this.#options.registry?.id ?? this.#ownId
  }

  /**
   * Answers other nodes from now on. Call it repeatedly: the storage may have been unavailable, or have lost its data.
   *
   * @throws (rejects) Error: the storage does not answer.
   */
  async start(): Promise<void> {
    const { sets, prefix, registry } = this.#options
    const { id } = this
    if (!this.#channels.has(id)) await this.#subscribe(id)
    if (registry === undefined) await answerInTime(sets.add(nodesKeyOf(prefix), id))
  }

  /** Ends all calls, as `gone`. @throws (rejects) as `start` does. */
  async stop(): Promise<void> {
    const { sets, prefix, registry } = this.#options
    this.#calls.rejectAll(() => new CallFailed('gone', 'this node stops'))
    try {
      if (registry === undefined) await answerInTime(sets.remove(nodesKeyOf(prefix), this.id))
    } finally {
      for (const id of this.#channels.keys()) await this.#unsubscribe(id)
    }
  }

  /**
   * The answer of another node.
   *
   * @throws (rejects) CallFailed `timeout`, `busy`, `failed` (the node cannot answer), `gone` (it is dead, or this node stops); an error of
   * the storage.
   */
  async ask(node: string, question: unknown, options?: CallOptions): Promise<unknown> {
    const { registry } = this.#options
    if (registry?.isDead(node)) throw gone(node)
    const id = randomUUID()
    const call = { id, node, callee: `node ${node}`, name: 'a question' }
    return this.#calls.start(id, call, () => this.#send(node, { call: id, from: this.id, question }, id), options)
  }

  /** The other nodes, also those that have died a short time ago. @throws (rejects) Error: the storage does not answer. */
  async others(): Promise<readonly string[]> {
    const { sets, prefix } = this.#options
    const ids = await answerInTime(sets.get(nodesKeyOf(prefix)))
    return Array.from(ids).filter(id => id !== this.id)
  }

  /**
   * Asks all other nodes: a scatter-gather call.
   *
   * @returns the answers by node, without the nodes that do not answer in time.
   * @throws (rejects) Error: the storage does not answer.
   */
  async askAll(question: unknown, options?: CallOptions): Promise<ReadonlyMap<string, unknown>> {
    const answers = new Map<string, unknown>()
    const ask = async (id: string) => answers.set(id, await this.ask(id, question, options))
    await Promise.allSettled((await this.others()).map(ask))
    options?.signal?.throwIfAborted()
    return answers
  }

  async #subscribe(id: string): Promise<void> {
    const handle = (text: Payload) => void this.#handle(text)
    const subscribed = answerInTime(this.#options.bus.subscribe(this.#channelOf(id), handle))
    this.#channels.set(id, subscribed)
    await subscribed.catch(error => {
      this.#channels.delete(id)
      throw error
    })
    for (const earlier of this.#channels.keys()) {
      if (this.#channels.size <= MAX_CHANNELS) break
      await this.#unsubscribe(earlier)
    }
  }

  async #unsubscribe(id: string): Promise<void> {
    const subscribed = this.#channels.get(id)
    this.#channels.delete(id)
    const end = await subscribed
    await end?.()
  }

  async #handle(text: Payload): Promise<void> {
    const message = messageIn(text)
    if (message === undefined) return
    const { call } = message
    if ('answer' in message) this.#calls.resolve(call, message.answer)
    else if ('failed' in message) this.#calls.reject(call, new CallFailed('failed', 'a node cannot answer a question'))
    else this.#send(message.from, await this.#answerTo(message))
  }

  async #answerTo({ call, from, question }: Extract<Message, { from: string }>): Promise<Message> {
    try {
      const answer = await this.#options.answer(question, from)
      if (JSON.stringify(answer) !== undefined) return { call, answer }
    } catch {}
    return { call, failed: true }
  }

  /** @param call - fails if the message is not sent. */
  #send(node: string, message: Message, call?: string): void {
    const sent = async () => this.#options.bus.publish(this.#channelOf(node), JSON.stringify(message))
    sent().catch(error => {
      if (call !== undefined) this.#calls.reject(call, error)
    })
  }

  #rejectDead(): void {
    for (const { id, node } of this.#calls.all())
      if (this.#options.registry!.isDead(node)) this.#calls.reject(id, gone(node))
  }

  #channelOf(node: string): string {
    return `${this.#options.prefix}:node:${node}`
  }
}

function gone(node: string): CallFailed {
  return new CallFailed('gone', `node ${node} is dead`)
}

/** `undefined` if a message is none of `NodeCalls`. */
function messageIn(text: Payload): Message | undefined {
  try {
    const message = JSON.parse(text.toString())
    const isMessage = typeof message?.call === 'string'
    const hasKind = 'answer' in message || message.failed === true || typeof message.from === 'string'
    return isMessage && hasKind ? message : undefined
  } catch {
    return undefined
  }
}
