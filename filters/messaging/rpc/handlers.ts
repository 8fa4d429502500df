import type { Awaitable, Client } from 'filtered-websocket'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Args, Extras, Id, Kwargs } from '../wire/message.ts'

/** Prefix of the names that are reserved for built-in requests. */
export const RESERVED = 'fws.'

/** How a message was delivered. */
export interface Delivery {
  /** The id of the message; `undefined`: its sender expects no answer. */
  readonly id: Id | undefined
  /** An earlier delivery may have run: its record is missing, or its node died before it was recorded. */
  readonly repeated: boolean
  /** Seconds since 1970 at which the action is to run. */
  readonly at: number | undefined
  readonly topic: string | undefined
}

/** Handles an action. Its result is ignored. */
export type ActionHandler = (client: Client, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** Answers a request with its result, or the value of its promise. */
export type RequestHandler = (client: Client, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** Called with the id that a client has sent. The id is not authenticated. */
export type IdHandler = (client: Client, id: string) => Awaitable<void>

/** A built-in request is refused. The peer gets code and message. Not logged, as a peer can repeat the request at will. */
export class Refused extends Error {
  /** One word, such as `forbidden`. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export function deliveryOf({ id, at, topic }: { readonly id?: Id } & Extras, repeated: boolean): Delivery {
  return { id, repeated, at, topic }
}

/** Handlers of one server. */
export class Handlers {
  readonly #actions = new Map<string, ActionHandler[]>()
  readonly #requests = new Map<string, RequestHandler>()
  readonly #builtIns = new Map<string, RequestHandler>()
  readonly ids: IdHandler[] = []

  /** Adds a handler of an action. Several handlers of a name run in the order of the calls. @throws TypeError */
  action(name: string, handler: ActionHandler): void {
    check('action', name, handler)
    const handlers = this.#actions.get(name)
    if (handlers === undefined) this.#actions.set(name, [handler])
    else handlers.push(handler)
  }

  /** Sets the handler of a request. @throws TypeError, also for a second handler, as a request has one answer. */
  request(name: string, handler: RequestHandler): void {
    check('request', name, handler)
    if (this.#requests.has(name)) throw new TypeError(`there are two handlers of request ${JSON.stringify(name)}`)
    this.#requests.set(name, handler)
  }

  /**
   * Sets the handler of a built-in request, which runs at once, also while actions of its client run. An application cannot
   * handle a reserved name; of another name, such as `time`, its handler takes precedence.
   */
  builtIn(name: string, handler: RequestHandler): void {
    this.#builtIns.set(name, handler)
  }

  /** Whether the filter itself answers a request, be it with the error `unknown`. */
  isBuiltIn(name: string): boolean {
    return !this.#requests.has(name)
  }

  actionsOf(name: string): readonly ActionHandler[] | undefined {
    return this.#actions.get(name)
  }

  requestOf(name: string): RequestHandler {
    return this.#requests.get(name) ?? this.#builtIns.get(name) ?? unknown(name)
  }
}

function unknown(name: string): RequestHandler {
  return () => {
    throw new Refused('unknown', `there is no request ${shown(name)}`)
  }
}

function check(what: 'action' | 'request', name: string, handler: unknown): void {
  if (typeof name !== 'string' || name === '')
    throw new TypeError(`the name of ${what}s is a string that is not empty, received ${JSON.stringify(name)}`)
  if (name === FILE) throw new TypeError(`${what} "${FILE}" is for files, it cannot have a handler`)
  if (name.startsWith(RESERVED))
    throw new TypeError(`${what} ${JSON.stringify(name)}: names that begin with ${RESERVED} are reserved, use another`)
  if (typeof handler !== 'function')
    throw new TypeError(`the handler of ${what} ${JSON.stringify(name)} is not a function`)
}
