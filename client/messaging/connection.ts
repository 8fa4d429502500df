import type { Connection, ConnectionState, ConnectOptions } from '../connection.ts'
import { Listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { Clock, here } from './clock.ts'
import type { MessagingError } from './error.ts'
import type { MessagingEvents } from './events.ts'
import type { Args, Kwargs } from './frame.ts'
import { Link, PROTOCOLS } from './link.ts'
import { type CallOptions, gone } from './outbox.ts'
import { type ActionHandler, type RequestHandler, type TopicHandler, Work } from './work.ts'

/** Milliseconds for an answer that a client of its own accord asks for. */
const QUICK = { timeout: 5000, isKept: false }

export interface MessagingOptions extends Omit<ConnectOptions, 'protocols' | 'outgoing'> {
  /** Who it is, 1 to 128 characters: under it the server keeps what it missed. Default: a random one. */
  readonly id?: string
  /**
   * What may wait for the server or for its answer; default 1,000 messages and 1 MiB, at most 16 MiB. A call beyond that
   * rejects with `full`.
   */
  readonly maxQueued?: number
  readonly maxQueuedBytes?: number
  /**
   * Lets the server rename this client, by the original's action `id` with `new_id`: told the new id, to save it; then
   * it connects anew under that one.
   */
  readonly reconfigure?: (id: string) => unknown
}

/** Makes the connection underneath. */
export type Connect = (url: string, options: ConnectOptions) => Connection

/** A connection with a server that has the filter `messaging`: actions, and requests both ways. Use `connectMessaging`. */
export class MessagingConnection {
  readonly clock: Clock
  readonly #link: Link
  readonly #work: Work
  readonly #listeners = new Listeners<MessagingEvents>()
  readonly #mine = new Set<string>()

  constructor(
    url: string,
    { id, maxQueued, maxQueuedBytes, reconfigure, ...rest }: MessagingOptions,
    connect: Connect,
  ) {
    this.clock = new Clock((name, args) => this.#quickly(name, args))
    this.#work = new Work(
      frame => this.#link.sendNow(frame),
      (name, error) => this.#listeners.tell('failed', { name, error }),
      at => this.clock.until(at),
    )
    this.#serve(reconfigure)
    this.#link = new Link({
      url,
      id,
      maxQueued,
      maxQueuedBytes,
      listeners: this.#listeners,
      connect: to => connect(to, { ...rest, protocols: PROTOCOLS }),
      take: message => this.#work.take(message),
      ended: () => this.clock.stop(),
    })
    this.on('open', () => this.#renew())
  }

  get state(): ConnectionState {
    return this.#link.state
  }

  get id(): string {
    return this.#link.id
  }

  /** Messages that wait for a connection. */
  get queued(): number {
    return this.#link.outbox.length
  }

  /** Answers how to stop listening. */
  on<E extends keyof MessagingEvents>(type: E, listener: (event: MessagingEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /** What to do when the server says an action; the next one waits until that is done. Answers how to stop. */
  action(name: string, handler: ActionHandler): () => void {
    check(name)
    return this.#work.action(name, handler)
  }

  /** What to answer to the server's request; requests do not wait for each other. Answers how to stop. Throws a `TypeError` for a second handler. */
  request(name: string, handler: RequestHandler): () => void {
    check(name)
    if (this.#mine.has(name)) throw new TypeError(`there are two handlers of request "${name}"`)
    this.#mine.add(name)
    const stop = this.#work.serve(name, async ({ args, kwargs }, delivery) => ({
      value: await handler(args, kwargs, delivery),
    }))
    return () => {
      if (this.#mine.delete(name)) stop()
    }
  }

  /**
   * Asks the server. Sent again, under the same id, when the connection breaks before the answer. Rejects with a
   * `MessagingError`, or the reason of the signal.
   */
  async call(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown> {
    this.#check()
    return (await this.#link.outbox.ask('request', name, args, kwargs, options)).value
  }

  /** An action that the server answers when it has done it; as `call`, with 60 seconds. One that is the original: when it has gone out. */
  async deliver(name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<void> {
    this.#check()
    await this.#link.outbox.ask('message', name, args, kwargs, { timeout: 60_000, ...options })
  }

  /** An action that nobody answers, now or when there is a connection. `false`: closed, or too much waits, and it is not sent. */
  emit(name: string, args?: Args, kwargs?: Kwargs): boolean {
    return this.#mayTell() && this.#link.outbox.tell(name, args, kwargs)
  }

  /** A plain message, which is an action `message` where the server has the filter; bytes go to servers without it alone. `false` as in `emit`. */
  send(data: Sendable): boolean {
    if (!this.#mayTell()) return false
    if (typeof data === 'string') return this.#link.outbox.tell('message', [data], {}, data)
    return this.#link.outbox.tell('message', [], {}, new Uint8Array(data).slice().buffer)
  }

  /** Hears the actions of a topic, on each connection. Answers how to stop. Rejects with a `MessagingError`, such as `forbidden`. */
  async subscribe(topic: string, handler: TopicHandler): Promise<() => Promise<void>> {
    const leave = this.#work.topic(topic, handler)
    try {
      await this.#steadily('fws.subscribe', topic)
    } catch (error) {
      leave()
      throw error
    }
    return async () => {
      leave()
      if (!this.#work.topics.includes(topic) && this.state === 'open') await this.#quickly('fws.unsubscribe', [topic])
    }
  }

  /** Closes, and connects anew with other settings; handlers stay, and so does what waits. */
  reload(settings: { readonly url?: string; readonly id?: string } = {}): void {
    this.#link.reload(settings)
  }

  /** For good; what waits is given up. */
  close(code?: number, reason?: string): void {
    this.#link.close(code, reason)
  }

  /** What every client answers, unless a handler does. */
  #serve(reconfigure: MessagingOptions['reconfigure']): void {
    this.#work.serve('id', () => ({ value: this.id }))
    this.#work.serve('time', () => ({ value: here() }))
    this.#work.serve('fws.clock', () => ({ value: [here(), here()] }))
    this.#work.action('message', ([text]) => typeof text === 'string' && this.#listeners.tell('message', text))
    if (reconfigure === undefined) return
    this.#work.action('id', async (_args, { new_id: id }) => {
      if (typeof id !== 'string' || id === '' || id.length > 128) throw new TypeError('new_id is 1 to 128 characters')
      await reconfigure(id)
      this.reload({ id })
    })
  }

  /** After each opening. */
  #renew(): void {
    if (this.#link.isPlain) return
    const failed = (name: string) => (error: unknown) => this.#listeners.tell('failed', { name, error })
    for (const topic of this.#work.topics) this.#quickly('fws.subscribe', [topic]).catch(failed('fws.subscribe'))
    if (this.clock.error < Number.POSITIVE_INFINITY) this.clock.sync().catch(failed('fws.clock'))
  }

  async #quickly(name: string, args: Args): Promise<unknown> {
    this.#check()
    return (await this.#link.outbox.ask('request', name, args, {}, QUICK)).value
  }

  /** Until it is answered, on whichever connection. */
  async #steadily(name: string, topic: string): Promise<void> {
    for (;;) {
      try {
        await this.#quickly(name, [topic])
        return
      } catch (error) {
        if ((error as MessagingError).code !== 'gone' || this.state === 'closed') throw error
      }
    }
  }

  #check(): void {
    if (this.state === 'closed') throw gone()
  }

  #mayTell(): boolean {
    return this.state !== 'closed' && !this.#link.isBehind
  }
}

function check(name: string): void {
  if (name === 'filetransfer' || name.startsWith('fws.')) throw new TypeError(`no handler can have the name "${name}"`)
}
