import { randomUUID } from 'node:crypto'
import type { Awaitable, Payload, Storage } from 'filtered-websocket'
import { answerInTime, PendingCalls } from 'filtered-websocket/kit'

/** The set of the nodes' ids; that of a dead node is removed with its lease. */
const NODES = 'centrifuge:nodes'
/** Milliseconds for the answer of a node. */
const TIMEOUT = 1000
const MAX_CALLS = 10_000

type Message =
  | { readonly call: string; readonly from: string; readonly question: unknown }
  | { readonly call: string; readonly answer: unknown }

/** Asks all nodes of the server over the storage's bus: a scatter-gather call. */
export class Nodes {
  readonly id = randomUUID()
  readonly #storage: Pick<Storage, 'bus' | 'sets'>
  readonly #answer: (question: unknown) => Awaitable<unknown>
  readonly #calls = new PendingCalls(MAX_CALLS, 'the server API')
  #unsubscribe: (() => Awaitable<void>) | undefined

  /** @param answer - the answer of this node, which JSON can represent. */
  constructor(storage: Pick<Storage, 'bus' | 'sets'>, answer: (question: unknown) => Awaitable<unknown>) {
    this.#storage = storage
    this.#answer = answer
  }

  /** Registers this node for the others. May be repeated. @throws (rejects) Error: the storage does not answer. */
  async enter(): Promise<void> {
    const { bus, sets } = this.#storage
    // The call of a message that cannot be read or answered times out.
    const handle = (text: Payload) => void this.#handle(text).catch(() => {})
    this.#unsubscribe ??= await answerInTime(bus.subscribe(channelOf(this.id), handle))
    await answerInTime(sets.add(NODES, this.id))
  }

  /** @throws (rejects) Error: the storage does not answer. */
  async leave(): Promise<void> {
    await answerInTime(this.#storage.sets.remove(NODES, this.id))
    await this.#unsubscribe?.()
  }

  /**
   * The answers of all nodes, this one's first. A node that does not answer within a second, such as one that has died, has none.
   *
   * @throws (rejects) Error: the storage does not answer.
   */
  async ask(question: unknown): Promise<readonly unknown[]> {
    const ids = await answerInTime(this.#storage.sets.get(NODES))
    const others = Array.from(ids).filter(id => id !== this.id)
    const asked = others.map(id => this.#askNode(id, question))
    const answers = [await this.#answer(question), ...(await Promise.all(asked))]
    return answers.filter(answer => answer !== undefined)
  }

  async #askNode(node: string, question: unknown): Promise<unknown> {
    const send = (call: string) => this.#send(node, { call, from: this.id, question })
    const named = { callee: `node ${node}`, name: 'a question of the server API' }
    try {
      return await this.#calls.start(randomUUID(), named, send, { timeout: TIMEOUT })
    } catch {
      return undefined
    }
  }

  async #handle(text: Payload): Promise<void> {
    const message = JSON.parse(text.toString()) as Message
    if ('answer' in message) this.#calls.resolve(message.call, message.answer)
    else this.#send(message.from, { call: message.call, answer: await this.#answer(message.question) })
  }

  #send(node: string, message: Message): void {
    const sent = async () => this.#storage.bus.publish(channelOf(node), JSON.stringify(message))
    // The call has a timeout.
    sent().catch(() => {})
  }
}

function channelOf(node: string): string {
  return `centrifuge:node:${node}`
}
