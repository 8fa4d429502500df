import type { Awaitable, Client } from 'filtered-websocket'
import { type CallOptions, isPromise, type RateLimitedLog } from 'filtered-websocket/kit'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import type { Ledger } from '../resumption/ledger.ts'
import { unserializable } from '../resumption/note.ts'
import type { Run } from '../resumption/run.ts'
import { type Codecs, FORMAT } from '../wire/codecs.ts'
import type { Action, Args, Id, Kwargs, Messaging, Request, Response } from '../wire/message.ts'
import { ClientCalls } from './client-calls.ts'
import { type ActionHandler, deliveryOf, type Handlers } from './handlers.ts'
import { failureIn, type Outcome, outcomeOf } from './outcome.ts'
import { Refused } from './refused.ts'
import { Work } from './work.ts'

/** Characters of an id. */
export const MAX_ID = 128

/** A message that is answered. */
type Numbered = (Action | Request) & { readonly id: Id }

/** A request to a peer. */
export interface OutgoingRequest {
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
  /** It may have been sent before. */
  readonly resend: boolean
}

/** The parts of the filter that all sessions of a server share. */
export interface Service {
  readonly handlers: Handlers
  readonly codecs: Codecs
  readonly limitedLog: RateLimitedLog
  /** Outcomes for peers that reconnect; `undefined` without `--messaging-resume`. */
  readonly ledger: Ledger | undefined
  /** Called with the id of a client before the handlers of ids. */
  onId(session: Session, id: string): void
  readonly maxCalls: number
  readonly maxWork: number
  /** Bytes of the messages of one client that are handled; at that limit no further one is started. */
  readonly maxBytes: number
}

/** Sends a session what is queued for its peer. */
export interface DeliveryWorker {
  /** Looks for what can be sent now. */
  wake(): void
  stop(): void
  /** Whether the answer is for something that it has sent. */
  answered(answer: Response): boolean
}

/** One messaging client. */
export class Session {
  readonly client: Client
  readonly work: Work
  readonly calls: ClientCalls
  /** Of a peer that comes back: which run of it this is. */
  run: Run | undefined
  /** Under which id it gets what is kept, and is asked what is asked of that. */
  peer: string | undefined
  /** When it came under that id, among the connections of all nodes; not known yet: after all. */
  turn = Number.POSITIVE_INFINITY
  /** Sends it what is kept for it, if no later connection does. */
  pump: DeliveryWorker | undefined
  /** It sends and accepts files in parts, which clever-show does not. */
  knowsParts = false
  readonly #service: Service

  constructor(client: Client, service: Service) {
    this.client = client
    this.#service = service
    this.work = new Work(service.maxWork, service.maxBytes, error => this.#logError(error, 'an action failed'))
    this.calls = new ClientCalls(client, service.maxCalls)
  }

  /** Whether it accepts frames, which can carry bytes. */
  get speaksFrames(): boolean {
    return this.client.codec === this.#service.codecs.framed
  }

  send(message: Messaging): void {
    this.client.send(this.#service.codecs.payloadFor(this.client.codec, message), FORMAT)
  }

  /** Sends a request under an id that another node, or an earlier connection, may have used for it. */
  ask(id: string, { name, args, kwargs, resend }: OutgoingRequest, options: CallOptions): Promise<unknown> {
    const again = resend && ({ resend } as const)
    const send = () => this.send({ type: 'request', name, id, args, kwargs, ...again })
    return this.calls.start(name, send, options, false, id)
  }

  /** Whether a call waited for this answer. */
  settle(response: Response): boolean {
    return this.calls.settle(response) || this.pump?.answered(response) === true
  }

  call(name: string, args: Args, kwargs: Kwargs, options?: CallOptions): Promise<unknown> {
    return this.calls.start(name, id => this.send({ type: 'request', name, id, args, kwargs }), options)
  }

  /** Asks for a file, or a part of one: the content of the answer. */
  request(name: string, kwargs: Kwargs, options?: CallOptions): Promise<Response> {
    const send = (id: string) => this.send({ type: 'request', name, id, args: [], kwargs })
    return this.calls.start(name, send, options, true) as Promise<Response>
  }

  /** Sends a part of a file, and waits until it is written. */
  push(kwargs: Kwargs, content: Buffer, part: PushedPart, options?: CallOptions): Promise<unknown> {
    const send = (id: string) => this.send({ type: 'message', name: FILE, id, args: [], kwargs, content, part })
    return this.calls.start(FILE, send, options)
  }

  /** Requests the id of a client, as clever-show does of each that connects. Never rejects. */
  async learnId(): Promise<void> {
    const id = await this.call('id', [], {}).catch(() => undefined)
    if (typeof id === 'string' && id !== '' && id.length <= MAX_ID) await this.isKnownAs(id)
  }

  /** Registers the id that the client has sent; the first one counts. Never rejects. */
  async isKnownAs(id: string): Promise<void> {
    const { state } = this.client
    if (state.messaging !== undefined) return
    state.messaging = { id }
    this.#service.onId(this, id)
    try {
      for (const handler of this.#service.handlers.ids) await handler(this.client, id)
    } catch (error) {
      this.#logError(error, 'an id handler failed')
    }
  }

  /** Handles a message of so many bytes, at once or when there is room; false: an action without a handler. */
  accept(message: Action | Request, bytes: number): boolean {
    if (message.type === 'message' && this.#service.handlers.actionsOf(message.name) === undefined) return false
    this.work.accept(() => this.#begin(message, bytes), bytes)
    return true
  }

  /** Settles when the work has room for a waiting message again, or when the client has gone. */
  room(): Promise<void> {
    const { signal } = this.client
    return new Promise(resolve => {
      const end = () => {
        signal.removeEventListener('abort', end)
        resolve()
      }
      signal.addEventListener('abort', end)
      void this.work.room().then(end)
    })
  }

  #begin(message: Action | Request, bytes: number): void {
    if (message.type === 'request') this.#serve(message, bytes)
    else this.#act(message, this.#service.handlers.actionsOf(message.name)!, bytes)
  }

  /** Runs the handlers of an action, and answers it if it has an id. */
  #act(action: Action, handlers: readonly ActionHandler[], bytes: number): void {
    const { args, kwargs, id, resend = false } = action
    const run = (repeated: boolean) => {
      const delivery = deliveryOf(action, repeated)
      return inOrder(handlers.map(handler => () => handler(this.client, args, kwargs, delivery)))
    }
    if (id === undefined) this.work.act(() => run(resend), bytes)
    else this.work.act(() => this.#answer({ ...action, id }, run), bytes)
  }

  /** Whether an action without a handler goes on to other filters; an action with an id is answered. */
  pass(action: Action): Awaitable<boolean> {
    const { id } = action
    if (id === undefined) return true
    let goesOn = false
    const answered = this.#answer({ ...action, id }, () => {
      goesOn = true
    })
    return isPromise(answered) ? answered.then(() => goesOn) : goesOn
  }

  /** Answers a request with a value or an error. Never throws. */
  #serve(request: Request, bytes: number): void {
    const { handlers } = this.#service
    const { name, args, kwargs, resend = false } = request
    const handler = handlers.requestOf(name)
    const run = (repeated: boolean) => handler(this.client, args, kwargs, deliveryOf(request, repeated))
    // The filter's own requests are idempotent.
    const own = () => this.#outcomeOf(request, () => run(resend))
    if (handlers.isOwn(name)) this.work.concurrently(() => this.#settle(request, own()), bytes)
    else this.work.serve(() => this.#answer(request, run), bytes)
  }

  /** Runs a message with an id, once if its sender resumes, and answers it. */
  #answer(message: Numbered, run: (repeated: boolean) => unknown): Awaitable<void> {
    const { ledger } = this.#service
    const n = this.run?.numberOf(message.id)
    const isResent = message.resend === true
    const doing = (repeated: boolean) => this.#outcomeOf(message, () => run(repeated))
    if (ledger === undefined || this.run === undefined || n === undefined) return this.#settle(message, doing(isResent))
    return this.#settle(message, ledger.once(this.run, n, isResent, doing))
  }

  #settle(message: Numbered, outcome: Awaitable<Outcome>): Awaitable<void> {
    return isPromise(outcome) ? outcome.then(late => this.#respond(message, late)) : this.#respond(message, outcome)
  }

  #outcomeOf(message: Numbered, run: () => unknown): Awaitable<Outcome> {
    return outcomeOf(run, error => {
      const what = `${message.type === 'message' ? 'action' : 'request'} ${shown(message.name)}`
      // Not logged: a refused client can send the request again and again.
      if (!(error instanceof Refused)) this.#logError(error, `${what} failed`)
      return { error: failureIn(what, error) }
    })
  }

  #respond({ name, id }: Numbered, { value, error }: Outcome): void {
    const answer = { type: 'response', name, id } as const
    if (error !== undefined) {
      this.send({ ...answer, value: null, error })
      return
    }
    try {
      this.send({ ...answer, value })
    } catch (error) {
      this.#logError(error, `the answer to ${shown(name)} is no JSON`)
      this.send({ ...answer, value: null, error: unserializable(shown(name)) })
    }
  }

  #logError(err: unknown, text: string): void {
    this.#service.limitedLog.add('error', { err, client: this.client.id }, text)
  }
}

/** Runs handlers in order, each after the promise of the one before it. */
function inOrder(runs: readonly (() => unknown)[]): Awaitable<void> {
  for (const [i, run] of runs.entries()) {
    const begun = run()
    if (isPromise(begun)) return begun.then(() => inOrder(runs.slice(i + 1)))
  }
}
