import type { Awaitable, Client } from 'filtered-websocket'
import { type CallOptions, IdempotencyError, isPromise, type RateLimitedLog, type Sender } from 'filtered-websocket/kit'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import { type Codecs, FORMAT } from '../wire/codecs.ts'
import type { Action, Args, Failure, Id, Kwargs, Messaging, Request, Response } from '../wire/message.ts'
import { ClientCalls } from './client-calls.ts'
import { type ActionHandler, type Delivery, deliveryOf, type Handlers, Refused } from './handlers.ts'
import { checkJson, failureIn, type Outcome, outcomeOf, unserializable } from './outcome.ts'
import { TaskQueue } from './task-queue.ts'

/** Characters of an id. */
export const MAX_ID = 128

/** A message with an id, which gets an answer. */
type Identified = (Action | Request) & { readonly id: Id }

/** A request to a peer. */
export interface OutgoingRequest {
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
  /** It may have been sent before. */
  readonly resend: boolean
}

/** One process of a peer: its requests and actions with ids `EPOCH.N` run once. */
interface Incarnation {
  readonly epoch: string
  readonly sender: Sender
}

/** The parts of the filter that all sessions of a server share. */
export interface Service {
  readonly handlers: Handlers
  readonly codecs: Codecs
  readonly limitedLog: RateLimitedLog
  /** Called with the id of a client before the handlers of ids. */
  onId(session: Session, id: string): void
  readonly maxCalls: number
  readonly maxTasks: number
  /** Bytes of the messages of one client that are handled; at that limit no further one is started. */
  readonly maxBytes: number
}

/** One messaging client. */
export class Session {
  readonly client: Client
  readonly tasks: TaskQueue
  readonly calls: ClientCalls
  /** The incarnation of its peer, after `fws.resume`. */
  incarnation: Incarnation | undefined
  /** Handles its answers to queued actions; returns whether one waited for this answer. */
  delivery: { answered(from: Session, answer: Response): boolean } | undefined
  /** It sends and accepts files in parts, which clever-show does not. */
  supportsParts = false
  readonly #service: Service

  constructor(client: Client, service: Service) {
    this.client = client
    this.#service = service
    this.tasks = new TaskQueue(service.maxTasks, service.maxBytes, error => this.#logError(error, 'an action failed'))
    this.calls = new ClientCalls(client, service.maxCalls)
  }

  /** Whether it accepts frames, which can carry bytes. */
  get acceptsFrames(): boolean {
    return this.client.codec !== this.#service.codecs.textual
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

  /** Settles the call or the queued action that a response answers. Returns `false` if none waits for it. */
  settle(response: Response): boolean {
    return this.calls.settle(response) || this.delivery?.answered(this, response) === true
  }

  call(name: string, args: Args, kwargs: Kwargs, options?: CallOptions): Promise<unknown> {
    return this.calls.start(name, id => this.send({ type: 'request', name, id, args, kwargs }), options)
  }

  /** Requests a file or a part of one, which is the content of the response. */
  request(name: string, kwargs: Kwargs, options?: CallOptions): Promise<Response> {
    const send = (id: string) => this.send({ type: 'request', name, id, args: [], kwargs })
    return this.calls.start(name, send, options, true) as Promise<Response>
  }

  /** Sends a part of a file. Resolves when the client has written it. */
  push(kwargs: Kwargs, content: Buffer, part: PushedPart, options?: CallOptions): Promise<unknown> {
    const send = (id: string) => this.send({ type: 'message', name: FILE, id, args: [], kwargs, content, part })
    return this.calls.start(FILE, send, options)
  }

  /** Requests the id of the client, as a clever-show server does of each client that connects. Never rejects. */
  async requestId(): Promise<void> {
    const id = await this.call('id', [], {}).catch(() => undefined)
    if (typeof id === 'string' && id !== '' && id.length <= MAX_ID) await this.setId(id)
  }

  /** Registers the id that the client has sent; the first one counts. Never rejects. */
  async setId(id: string): Promise<void> {
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

  /** Handles a message of `bytes` bytes, at once or when there is room. Returns `false` for an action without a handler. */
  handle(message: Action | Request, bytes: number): boolean {
    const handlers = message.type === 'message' ? this.#service.handlers.actionsOf(message.name) : undefined
    if (message.type === 'request') this.tasks.start(() => this.#handleRequest(message, bytes), bytes)
    else if (handlers !== undefined) this.tasks.start(() => this.#handleAction(message, handlers, bytes), bytes)
    else return false
    return true
  }

  /** Whether an action without a handler goes on to later filters; an action with an id is answered. */
  pass(action: Action): Awaitable<boolean> {
    const { id } = action
    if (id === undefined) return true
    let goesOn = false
    const answered = this.#runOnce({ ...action, id }, () => {
      goesOn = true
    })
    return isPromise(answered) ? answered.then(() => goesOn) : goesOn
  }

  /** Runs the handlers of an action, and answers it if it has an id. */
  #handleAction(action: Action, handlers: readonly ActionHandler[], bytes: number): void {
    const { id, resend = false } = action
    const run = (repeated: boolean) => this.#runHandlers(action, handlers, deliveryOf(action, repeated))
    if (id === undefined) this.tasks.runAction(() => run(resend), bytes)
    else this.tasks.runAction(() => this.#runOnce({ ...action, id }, run), bytes)
  }

  /** Runs handlers from an index on, one after the other. */
  #runHandlers(action: Action, handlers: readonly ActionHandler[], delivery: Delivery, from = 0): Awaitable<void> {
    for (let i = from; i < handlers.length; i++) {
      const result = handlers[i]!(this.client, action.args, action.kwargs, delivery)
      if (isPromise(result)) return result.then(() => this.#runHandlers(action, handlers, delivery, i + 1))
    }
  }

  /** Answers a request with a value or an error. Never throws. */
  #handleRequest(request: Request, bytes: number): void {
    const { handlers } = this.#service
    const { name, args, kwargs, resend = false } = request
    const handler = handlers.requestOf(name)
    const run = (repeated: boolean) => handler(this.client, args, kwargs, deliveryOf(request, repeated))
    if (!handlers.isBuiltIn(name)) this.tasks.runRequest(() => this.#runOnce(request, run), bytes)
    // Built-in requests are idempotent.
    else
      this.tasks.track(
        this.#respond(
          request,
          this.#outcomeOf(request, () => run(resend)),
        ),
        bytes,
      )
  }

  /** Runs a message with an id and answers it; for a peer that resumes, a resend does not run it again. */
  #runOnce(message: Identified, run: (repeated: boolean) => unknown): Awaitable<void> {
    const { incarnation } = this
    const n = incarnation && numberIn(message.id, incarnation.epoch)
    const isResend = message.resend === true
    const execute = (repeated: boolean) => this.#outcomeOf(message, () => run(repeated))
    if (n === undefined) return this.#respond(message, execute(isResend))
    return incarnation!.sender
      .once(n, isResend, repeated => {
        const outcome = execute(repeated)
        return isPromise(outcome)
          ? outcome.then(settled => this.#asJson(message, settled))
          : this.#asJson(message, outcome)
      })
      .catch(error => ({ error: failureIn(subjectOf(message), error) }))
      .then(outcome => this.#sendOutcome(message, outcome))
  }

  #outcomeOf(message: Identified, run: () => unknown): Awaitable<Outcome> {
    return outcomeOf(run, error => {
      const what = subjectOf(message)
      // Not logged: a refused client can send the request again and again.
      if (!(error instanceof Refused || error instanceof IdempotencyError)) this.#logError(error, `${what} failed`)
      return { error: failureIn(what, error) }
    })
  }

  /** The outcome that is recorded: a resend gets the same answer, also if JSON cannot represent it. */
  #asJson({ name }: Identified, outcome: Outcome): Outcome {
    try {
      checkJson(outcome)
      return outcome
    } catch (error) {
      return { error: this.#notJson(name, error) }
    }
  }

  #notJson(name: string, error: unknown): Failure {
    this.#logError(error, `the answer to ${shown(name)} is not JSON`)
    return unserializable(shown(name))
  }

  #respond(message: Identified, outcome: Awaitable<Outcome>): Awaitable<void> {
    return isPromise(outcome)
      ? outcome.then(settled => this.#sendOutcome(message, settled))
      : this.#sendOutcome(message, outcome)
  }

  #sendOutcome({ name, id }: Identified, { value, error }: Outcome): void {
    const response = { type: 'response', name, id, value: null } as const
    if (error !== undefined) {
      this.send({ ...response, error })
      return
    }
    try {
      this.send({ ...response, value })
    } catch (error) {
      this.send({ ...response, error: this.#notJson(name, error) })
    }
  }

  #logError(err: unknown, text: string): void {
    this.#service.limitedLog.add('error', { err, client: this.client.id }, text)
  }
}

/** The subject of errors. */
function subjectOf({ type, name }: Identified): string {
  return `${type === 'message' ? 'action' : 'request'} ${shown(name)}`
}

/** The number in an id `EPOCH.N`; `undefined`: it is another id. */
function numberIn(id: Id, epoch: string): number | undefined {
  if (typeof id !== 'string' || !id.startsWith(`${epoch}.`)) return undefined
  const digits = id.slice(epoch.length + 1)
  return /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined
}
