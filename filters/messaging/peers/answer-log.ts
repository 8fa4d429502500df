import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Asked } from '../rpc/ask-clients.ts'
import { failureIn } from '../rpc/outcome.ts'
import type { Failure } from '../wire/message.ts'

/** Characters of a page; a single item may be larger. */
const PAGE_SIZE = 262_144
/** Milliseconds that a page waits for an answer. */
const WAIT_MS = 2000

/** First the id of each client that was asked, then the answers, by the index of the client. */
export type Item =
  | { readonly id: string }
  | { readonly index: number; readonly value?: unknown; readonly error?: Failure }

/** Consecutive items, each as JSON. */
export interface AnswerPage {
  readonly items: readonly string[]
  readonly isLast: boolean
}

/** The answers of many clients of this node, which another node reads in pages: all of them could be too much for one message. */
export class AnswerLog {
  /** Those that were not read. */
  #items: string[]
  /** Items before these. */
  #read = 0
  #waiting: number
  #wake = () => {}

  /** @param name - of the request. */
  constructor(name: string, asked: readonly Asked[]) {
    this.#items = asked.map(({ id }) => JSON.stringify({ id } satisfies Item))
    this.#waiting = asked.length
    for (const [index, { answer }] of asked.entries())
      void answer.then(({ value, error }) => {
        const outcome = error === undefined ? { value } : { error: failureIn(`request ${shown(name)}`, error) }
        this.#items.push(JSON.stringify({ index, ...outcome } satisfies Item))
        this.#waiting--
        this.#wake()
      })
  }

  /** The items behind the first `read`, which the reader has: as many as there are, or the next one when it comes. */
  async page(read: number): Promise<AnswerPage> {
    this.#items.splice(0, Math.max(0, read - this.#read))
    this.#read = Math.max(read, this.#read)
    if (this.#items.length === 0 && this.#waiting > 0) await this.#next()
    let [count, size] = [0, 0]
    for (const item of this.#items) {
      size += item.length
      if (count > 0 && size > PAGE_SIZE) break
      count++
    }
    return { items: this.#items.slice(0, count), isLast: count === this.#items.length && this.#waiting === 0 }
  }

  /** Settles when there is an item, with others of the same turn, or after `WAIT_MS`. */
  #next(): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, WAIT_MS)
      this.#wake = () => {
        clearTimeout(timer)
        setImmediate(resolve)
      }
    })
  }
}
