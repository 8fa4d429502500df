import type { Awaitable, Client } from 'filtered-websocket'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Args, Extras, Id, Kwargs } from '../wire/message.ts'
import { Refused } from './refused.ts'

/** How names begin that are this filter's own. */
export const OWN = 'fws.'

/** How something came. */
export interface Delivery {
  /** By which its sender knows it; `undefined`: nobody waits to hear of it. */
  readonly id: Id | undefined
  /** It may have been done before: who worked on it died between its work and the note of it, or keeps no notes. */
  readonly repeated: boolean
  /** When it is to be done, in seconds since 1970. */
  readonly at: number | undefined
  readonly topic: string | undefined
}

/** Does something. What it returns tells nobody anything. */
export type ActionHandler = (client: Client, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** What it returns, or its promise settles to, is the answer. */
export type RequestHandler = (client: Client, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** Hears which id a client says that it has. */
export type IdHandler = (client: Client, id: string) => Awaitable<void>

/** How a message came, for its handlers. */
export function deliveryOf({ id, at, topic }: { readonly id?: Id } & Extras, repeated: boolean): Delivery {
  return { id, repeated, at, topic }
}

/** What to do on one server. */
export class Handlers {
  readonly #actions = new Map<string, ActionHandler[]>()
  readonly #requests = new Map<string, RequestHandler>()
  readonly #own = new Map<string, RequestHandler>()
  readonly ids: IdHandler[] = []

  /** Several may do something; they are called in the order in which they said so. */
  action(name: string, handler: ActionHandler): void {
    check('action', name, handler)
    const known = this.#actions.get(name)
    if (known === undefined) this.#actions.set(name, [handler])
    else known.push(handler)
  }

  /** @throws TypeError when there is one already: a request has one answer. */
  request(name: string, handler: RequestHandler): void {
    check('request', name, handler)
    if (this.#requests.has(name)) throw new TypeError(`there are two handlers of request ${JSON.stringify(name)}`)
    this.#requests.set(name, handler)
  }

  /**
   * A request that this filter answers by itself: `fws.` and more, which no application can take, or a name such as
   * `time`, where an application's handler wins. It begins at once, also while actions of its client are done.
   */
  own(name: string, handler: RequestHandler): void {
    this.#own.set(name, handler)
  }

  /** Whether this filter itself answers it, be it that there is no such request. */
  isOwn(name: string): boolean {
    return !this.#requests.has(name)
  }

  actionsOf(name: string): readonly ActionHandler[] | undefined {
    return this.#actions.get(name)
  }

  requestOf(name: string): RequestHandler {
    return this.#requests.get(name) ?? this.#own.get(name) ?? unknown(name)
  }
}

function unknown(name: string): RequestHandler {
  return () => {
    throw new Refused('unknown', `there is no request ${shown(name)}`)
  }
}

function check(what: 'action' | 'request', name: string, handler: unknown): void {
  if (typeof name !== 'string' || name === '')
    throw new TypeError(`the name of ${what}s is a text, received ${JSON.stringify(name)}`)
  if (name === FILE) throw new TypeError(`${what} "${FILE}" is for files, no handler can have it`)
  if (name.startsWith(OWN))
    throw new TypeError(
      `${what} ${JSON.stringify(name)}: names that begin with ${OWN} are this filter's own; take another`,
    )
  if (typeof handler !== 'function')
    throw new TypeError(`the handler of ${what} ${JSON.stringify(name)} is no function`)
}
