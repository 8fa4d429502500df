import type { Awaitable, Client } from 'filtered-websocket'
import { type Args, FILE, type Kwargs } from './message.ts'

/** How names begin that are this filter's own. */
export const OWN = 'fws.'

/** Does something. What it returns tells nobody anything. */
export type ActionHandler = (client: Client, args: Args, kwargs: Kwargs) => unknown
/** What it returns, or its promise settles to, is the answer. */
export type RequestHandler = (client: Client, args: Args, kwargs: Kwargs) => unknown
/** Hears which id a client says that it has. */
export type IdHandler = (client: Client, id: string) => Awaitable<void>

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

  /** Whether this filter itself answers it. */
  isOwn(name: string): boolean {
    return this.#own.has(name) && !this.#requests.has(name)
  }

  actionsOf(name: string): readonly ActionHandler[] | undefined {
    return this.#actions.get(name)
  }

  requestOf(name: string): RequestHandler | undefined {
    return this.#requests.get(name) ?? this.#own.get(name)
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
