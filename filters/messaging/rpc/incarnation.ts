import type { Awaitable } from 'filtered-websocket'
import type { Sender } from 'filtered-websocket/kit'
import type { Id } from '../wire/message.ts'
import { failureIn, type Outcome } from './outcome.ts'

/** One process of a peer: its requests and actions with ids run once. */
export class Incarnation {
  readonly #sender: Sender
  readonly #prefix: string

  /** @param epoch - distinguishes it from other processes of the peer. */
  constructor(sender: Sender, epoch: string) {
    this.#sender = sender
    this.#prefix = `${epoch}.`
  }

  /** The number in an id `EPOCH.N`; `undefined`: it is another id. */
  numberOf(id: Id): number | undefined {
    if (typeof id !== 'string' || !id.startsWith(this.#prefix)) return undefined
    const digits = id.slice(this.#prefix.length)
    return /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined
  }

  /** Runs the message with this number once; see `Sender.once`. Never rejects. */
  once(n: number, isResent: boolean, run: (repeated: boolean) => Awaitable<Outcome>): Promise<Outcome> {
    return this.#sender.once(n, isResent, run).catch(error => ({ error: failureIn('this', error) }))
  }

  /** Its connection has ended. */
  leave(): void {
    this.#sender.leave()
  }
}
