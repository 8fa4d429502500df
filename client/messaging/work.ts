import { Done } from './done.ts'
import { type Args, encode, type Id, type Kwargs, type Message } from './frame.ts'

/** Of the server, that are worked on. */
const MAX_WORK = 1000
/** Characters. */
const MAX_TEXT = 1024

/** What is known of a message beside what it says. */
export interface Delivery {
  /** Somebody waits for the answer. */
  readonly id: Id | undefined
  /** It may have been done before: the server sent it again, and this page or process does not know it. */
  readonly repeated: boolean
  /** The instant at which it was to be done, in seconds since 1970 on the server's clock. */
  readonly at: number | undefined
  /** By which the server has broadcast it. */
  readonly topic: string | undefined
}

/** Does something. What it returns tells nobody anything; the next action waits for its promise. */
export type ActionHandler = (args: Args, kwargs: Kwargs, delivery: Delivery) => unknown
/** What it returns, or its promise settles to, is the answer. */
export type RequestHandler = ActionHandler
/** Hears the actions of a topic. */
export type TopicHandler = (action: string, args: Args, kwargs: Kwargs, delivery: Delivery) => unknown

/** An answer. */
export interface Reply {
  readonly value?: unknown
  readonly error?: { readonly code: string; readonly message: string }
  /** Further fields of the header. */
  readonly fields?: Kwargs
  /** Content in the place of the value. */
  readonly bytes?: Uint8Array
}
type Server = (message: Message, delivery: Delivery) => Reply | Promise<Reply>

/** What a client does for its server: actions one after the other, each request when the actions before it are done. */
export class Work {
  readonly #send: (frame: Uint8Array) => void
  readonly #failed: (name: string, error: unknown) => void
  readonly #until: (at: number) => Promise<void>
  readonly #done = new Done()
  readonly #actions = new Map<string, Set<ActionHandler>>()
  readonly #topics = new Map<string, Set<TopicHandler>>()
  readonly #served = new Map<string, Server>()
  #turn: Promise<void> = Promise.resolve()
  #count = 0

  /**
   * @param failed - hears what handlers throw.
   * @param until - settles at an instant of the server's clock.
   */
  constructor(
    send: (frame: Uint8Array) => void,
    failed: (name: string, error: unknown) => void,
    until: (at: number) => Promise<void>,
  ) {
    this.#send = send
    this.#failed = failed
    this.#until = until
  }

  get topics(): readonly string[] {
    return [...this.#topics.keys()]
  }

  /** Answers how to stop. Several may do something. */
  action(name: string, handler: ActionHandler): () => void {
    return add(this.#actions, name, handler)
  }

  topic(name: string, handler: TopicHandler): () => void {
    return add(this.#topics, name, handler)
  }

  /** Answers requests, and actions that have a content of their own; the latest that is given for a name. Answers how to stop. */
  serve(name: string, server: Server): () => void {
    const before = this.#served.get(name)
    this.#served.set(name, server)
    return () => {
      if (before !== undefined) this.#served.set(name, before)
      else this.#served.delete(name)
    }
  }

  take(message: Message): void {
    const { type, name, id, header } = message
    const key = id === undefined ? undefined : `${name} ${id}`
    // Ids of other peers come again without this word, for something else.
    const isAgain = header.resend === true
    if (key !== undefined && isAgain && this.#done.has(key)) {
      const answer = this.#done.answer(key)
      if (answer !== undefined) this.#send(answer)
      return
    }
    if (this.#count >= MAX_WORK) {
      this.#answer(message, failure('busy', `${MAX_WORK} messages are worked on`))
      return
    }
    this.#count++
    if (key !== undefined) this.#done.begin(key)
    const at = typeof header.at === 'number' ? header.at : undefined
    const topic = typeof header.topic === 'string' ? header.topic : undefined
    const run = async () => {
      const reply = await this.#run(message, { id, repeated: isAgain, at, topic })
      this.#count--
      const frame = this.#answer(message, reply)
      if (key !== undefined && frame !== undefined) this.#done.end(key, frame)
    }
    // Out of the line: what comes meanwhile does not wait for the instant.
    if (at !== undefined) void this.#until(at).then(run)
    else {
      const begun = this.#turn.then(run)
      if (type === 'message') this.#turn = begun
    }
  }

  async #run(message: Message, delivery: Delivery): Promise<Reply> {
    const { type, name, args, kwargs, bytes } = message
    try {
      const server = type === 'request' || bytes ? this.#served.get(name) : undefined
      if (server !== undefined) return await server(message, delivery)
      const handlers = type === 'message' ? [...(this.#actions.get(name) ?? [])] : []
      const listeners = [...(this.#topics.get(delivery.topic!) ?? [])]
      for (const handler of handlers) await handler(args, kwargs, delivery)
      for (const listener of listeners) await listener(name, args, kwargs, delivery)
      return handlers.length + listeners.length > 0 ? {} : failure('unknown', `there is no ${type} "${name}"`)
    } catch (error) {
      this.#failed(name, error)
      const { code = 'failed', message } = Object(error)
      return failure(code, message ?? error)
    }
  }

  /** Answers the frame; `undefined`: nobody waits for one. */
  #answer(message: Message, { value, error, fields, bytes }: Reply): Uint8Array | undefined {
    const { name, id } = message
    if (id === undefined) return undefined
    try {
      // In a list everything is something in JSON.
      const content = bytes ?? `{"value":${JSON.stringify([value]).slice(1, -1)}}`
      const frame = encode('response', { requested_value: name, request_id: id, error, ...fields }, content)
      this.#send(frame)
      return frame
    } catch (cause) {
      this.#failed(name, cause)
      return this.#answer(message, failure('unserializable', `the answer to "${name}" is no JSON`))
    }
  }
}

function failure(code: unknown, message: unknown): Reply {
  return { error: { code: cut(code), message: cut(message) } }
}

function cut(text: unknown): string {
  return String(text).slice(0, MAX_TEXT)
}

function add<T>(sets: Map<string, Set<T>>, name: string, item: T): () => void {
  const set = sets.get(name) ?? new Set()
  sets.set(name, set.add(item))
  return () => {
    set.delete(item)
    if (set.size === 0 && sets.get(name) === set) sets.delete(name)
  }
}
