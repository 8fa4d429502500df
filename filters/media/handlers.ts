import type { Awaitable, Client, Closed, Drop, Verdict } from 'filtered-websocket'
import { isKind, type Kind, VALID_KINDS } from '../../protocols/nanollm/kinds.ts'
import type { Media } from './message.ts'

/** What filters that build on this one do with a message; what it returns is what the message chain makes of it. */
export type Handler = (media: Media, client: Client) => Awaitable<Verdict>
type Connected = (client: Client) => Awaitable<Drop | void>
type Disconnected = (client: Client, closed: Closed) => Awaitable<Drop | void>

/** Says what to do with messages of a kind, and when clients come and go. */
export interface On {
  /** All of them throw a TypeError for any other kind or event. */
  (kind: Kind | 'upload', handler: Handler): void
  (event: 'connect', handler: Connected): void
  (event: 'disconnect', handler: Disconnected): void
}

const EVENTS: readonly unknown[] = ['connect', 'disconnect', 'upload']

/** Who wants to know of what; several may, in the order in which they said so. */
export class Handlers {
  // biome-ignore lint/suspicious/noExplicitAny: each event has arguments of its own, as `On` says
  readonly #known = new Map<Kind | string, ((...event: any[]) => unknown)[]>()

  readonly on: On = (event: Kind | string, handler: (...event: never[]) => unknown) => {
    if (!isKind(event) && !EVENTS.includes(event))
      throw new TypeError(`on() takes ${EVENTS.join(', ')}, ${VALID_KINDS}, received ${JSON.stringify(event)}`)
    const known = this.#known.get(event)
    if (known === undefined) this.#known.set(event, [handler])
    else known.push(handler)
  }

  has(event: Kind | string): boolean {
    return this.#known.has(event)
  }

  /** Calls one after the other, until one decides what comes of it. */
  async run(event: Kind | string, ...args: readonly unknown[]): Promise<unknown> {
    for (const handler of this.#known.get(event) ?? []) {
      const verdict = await handler(...args)
      if (verdict !== undefined) return verdict
    }
    return undefined
  }
}
