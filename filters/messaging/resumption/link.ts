import type { Awaitable, Payload, Storage } from 'filtered-websocket'
import { answerInTime, isPromise } from 'filtered-websocket/kit'
import { readObject } from '../../../protocols/clever-show/json.ts'
import { TRUSTED } from '../wire/limits.ts'
import type { Failure } from '../wire/message.ts'

const GROUP = 'messaging:group'
const TURN = 'messaging:turn'
/** Turns that a millisecond has room for. */
const PER_MS = 1000

/** What nodes tell each other. */
export type News =
  /** Something is kept for a peer. */
  | { readonly type: 'kept'; readonly peer: string }
  /** A peer has come to the node that says so, or left it; the greater turn came later. */
  | { readonly type: 'came'; readonly peer: string; readonly turn: number }
  | { readonly type: 'left'; readonly peer: string; readonly turn: number }
  /** Whoever has the peer asks it; `ms` are left. */
  | {
      readonly type: 'ask'
      readonly peer: string
      readonly id: string
      readonly name: string
      readonly args: readonly unknown[]
      readonly kwargs: Readonly<Record<string, unknown>>
      readonly resend: boolean
      readonly ms: number
    }
  | { readonly type: 'answer'; readonly id: string; readonly value?: unknown; readonly error?: Failure }
  /** Every node asks its clients whose ids a pattern stands for, within so many `ms`; it tells whom, then what each answers. */
  | {
      readonly type: 'roll'
      readonly id: string
      readonly pattern: string
      readonly name: string
      readonly args: readonly unknown[]
      readonly kwargs: Readonly<Record<string, unknown>>
      readonly ms: number
    }
  | { readonly type: 'asked'; readonly id: string; readonly ids: readonly string[] }
  | {
      readonly type: 'told'
      readonly id: string
      readonly index: number
      readonly value?: unknown
      readonly error?: Failure
    }

/** Hears of another node. */
export type Listener = (news: News, node: string) => void

/** How nodes of one server tell each other of peers, on the storage's bus; what is told may be lost. */
export class Link {
  readonly #storage: Pick<Storage, 'bus' | 'values'>
  readonly #node: string
  readonly #failed: (error: unknown) => void
  /** Servers that share a storage, and are not one, have different ones. */
  #group = ''
  #unsubscribe: (() => Awaitable<void>)[] = []

  /** @param node - names this one. */
  constructor(storage: Pick<Storage, 'bus' | 'values'>, node: string, failed: (error: unknown) => void) {
    this.#storage = storage
    this.#node = node
    this.#failed = failed
  }

  /** @throws (rejects) Error when the storage does not answer */
  async start(listen: Listener): Promise<void> {
    const { bus, values } = this.#storage
    await answerInTime(values.set(GROUP, this.#node, { ifAbsent: true }))
    this.#group = (await answerInTime(values.get(GROUP))) ?? this.#node
    await this.#startTurns()
    const hear = (payload: Payload) => this.#hear(payload, listen)
    for (const channel of [this.#channelOf(), this.#channelOf(this.#node)])
      this.#unsubscribe.push(await answerInTime(bus.subscribe(channel, hear)))
  }

  /** Greater than all before it, on whatever node. A guess where the storage does not answer. */
  turn(): Awaitable<number> {
    const guess = Date.now() * PER_MS
    try {
      const turn = this.#storage.values.increment(TURN)
      if (!isPromise(turn)) return turn
      return answerInTime(turn).catch(error => {
        this.#failed(error)
        return guess
      })
    } catch (error) {
      this.#failed(error)
      return guess
    }
  }

  /** Nodes that start later find the others, also when the storage was emptied. @throws (rejects) Error as above */
  async renew(): Promise<void> {
    const { values } = this.#storage
    await answerInTime(values.set(GROUP, this.#group, { ifAbsent: true }))
    await this.#startTurns()
  }

  /** @throws (rejects) Error as above, after all has been tried */
  async stop(): Promise<void> {
    const ended = await Promise.allSettled(
      this.#unsubscribe.splice(0).map(async unsubscribe => answerInTime(unsubscribe())),
    )
    for (const end of ended) if (end.status === 'rejected') throw end.reason
  }

  /**
   * Tells all other nodes, or one. Answers whether there may be others that hear it.
   *
   * @throws TypeError when JSON cannot say it.
   */
  send(news: News, node?: string): boolean {
    const text = JSON.stringify({ ...news, node: this.#node })
    try {
      const told = this.#storage.bus.publish(this.#channelOf(node), text)
      if (!isPromise(told)) return false
      told.then(undefined, this.#failed)
    } catch (error) {
      this.#failed(error)
    }
    return true
  }

  /** In a storage that was emptied they go on behind those that were. */
  async #startTurns(): Promise<void> {
    const first = String(Date.now() * PER_MS)
    await answerInTime(this.#storage.values.set(TURN, first, { ifAbsent: true }))
  }

  /** A malformed message of another node is reported, and has no other effect. */
  #hear(payload: Payload, listen: Listener): void {
    try {
      const { node, ...news } = readObject(String(payload), TRUSTED.parse, 'a message of a node') as unknown as News & {
        node: string
      }
      if (node !== this.#node) listen(news, node)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Of one node; without it that of all. */
  #channelOf(node = 'all'): string {
    return `messaging:${this.#group}:${node}`
  }
}
