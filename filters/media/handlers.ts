import type { Awaitable, Client, Closed, Drop, Verdict } from 'filtered-websocket'
import { isKind, type Kind, VALID_KINDS } from '../../protocols/nanollm/kinds.ts'
import type { Media } from './message.ts'

/** Handles a message of a kind; returns the same values as a message handler of a filter. */
export type MediaHandler = (media: Media, client: Client) => Awaitable<Verdict>
type ConnectHandler = (client: Client) => Awaitable<Drop | void>
type DisconnectHandler = (client: Client, closed: Closed) => Awaitable<Drop | void>

/** Adds a handler for a kind, for uploads in chunks, or for clients that connect or disconnect. */
export interface On {
  /** @throws TypeError for any other kind or event. */
  (kind: Kind | 'upload', handler: MediaHandler): void
  (event: 'connect', handler: ConnectHandler): void
  (event: 'disconnect', handler: DisconnectHandler): void
}

const EVENTS: readonly unknown[] = ['connect', 'disconnect', 'upload']

/** The handlers of other filters, by kind and event. */
export class Handlers {
  // biome-ignore lint/suspicious/noExplicitAny: each event has its own arguments, see `On`
  readonly #handlers = new Map<Kind | string, ((...event: any[]) => unknown)[]>()

  readonly on: On = (event: Kind | string, handler: (...event: never[]) => unknown) => {
    if (!isKind(event) && !EVENTS.includes(event))
      throw new TypeError(`on() takes ${EVENTS.join(', ')}, ${VALID_KINDS}, received ${JSON.stringify(event)}`)
    this.#handlers.set(event, [...(this.#handlers.get(event) ?? []), handler])
  }

  has(event: Kind | string): boolean {
    return this.#handlers.has(event)
  }

  /** Calls the handlers in order until one returns a verdict. */
  async run(event: Kind | string, ...args: readonly unknown[]): Promise<unknown> {
    for (const handler of this.#handlers.get(event) ?? []) {
      const verdict = await handler(...args)
      if (verdict !== undefined) return verdict
    }
    return undefined
  }
}
