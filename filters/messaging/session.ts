import type { Awaitable, Client } from 'filtered-websocket'
import { type Codecs, FORMAT } from './codecs.ts'
import type { Complaints } from './complaints.ts'
import type { Handlers } from './handlers.ts'
import { shown } from './malformed.ts'
import {
  type Action,
  type Args,
  cut,
  type Failure,
  FILE,
  type Kwargs,
  type Messaging,
  type Request,
  type Response,
} from './message.ts'
import type { PushedPart } from './part.ts'
import { type CallOptions, Pending } from './pending.ts'
import { Refused } from './refused.ts'
import { isPromise, Work } from './work.ts'

/** Characters of an id. */
const MAX_ID = 128

/** What all sessions of a server share. */
export interface Service {
  readonly handlers: Handlers
  readonly codecs: Codecs
  readonly complaints: Complaints
  readonly maxCalls: number
  readonly maxWork: number
  /** Bytes of the messages that are worked on for one client, beyond which no further one is begun. */
  readonly maxBytes: number
}

/** One messaging client. */
export class Session {
  readonly client: Client
  readonly work: Work
  readonly pending: Pending
  /** It takes and gives files in parts, which the original does not. */
  knowsParts = false
  readonly #service: Service

  constructor(client: Client, service: Service) {
    this.client = client
    this.#service = service
    this.work = new Work(service.maxWork, service.maxBytes, error => this.#complain(error, 'an action failed'))
    this.pending = new Pending(client, service.maxCalls)
  }

  /** Bytes can be sent to it. */
  get speaksFrames(): boolean {
    return this.client.codec === this.#service.codecs.framed
  }

  send(message: Messaging): void {
    this.client.send(this.#service.codecs.payloadFor(this.client.codec, message), FORMAT)
  }

  call(name: string, args: Args, kwargs: Kwargs, options?: CallOptions): Promise<unknown> {
    return this.pending.call(name, id => this.send({ type: 'request', name, id, args, kwargs }), options)
  }

  /** Asks for a file, or a part of one: the content of the answer. */
  request(name: string, kwargs: Kwargs, options?: CallOptions): Promise<Response> {
    return this.pending.file(name, id => this.send({ type: 'request', name, id, args: [], kwargs }), options)
  }

  /** Sends a part of a file, and waits until it is written. */
  push(kwargs: Kwargs, content: Buffer, part: PushedPart, options?: CallOptions): Promise<unknown> {
    const send = (id: string) => this.send({ type: 'message', name: FILE, id, args: [], kwargs, content, part })
    return this.pending.call(FILE, send, options)
  }

  /** Asks a client who it is, as the original does of each that connects; nothing when it does not tell. Never rejects. */
  async learnId(): Promise<void> {
    const id = await this.call('id', [], {}).catch(() => undefined)
    if (typeof id !== 'string' || id === '' || id.length > MAX_ID) return
    this.client.state.messaging = { id }
    try {
      for (const handler of this.#service.handlers.ids) await handler(this.client, id)
    } catch (error) {
      this.#complain(error, 'an id handler failed')
    }
  }

  /** Runs the handlers of an action of so many bytes; false: it has none. */
  act({ name, args, kwargs }: Action, bytes: number): boolean {
    const handlers = this.#service.handlers.actionsOf(name)
    if (handlers === undefined) return false
    this.work.act(() => inOrder(handlers.map(handler => () => handler(this.client, args, kwargs))), bytes)
    return true
  }

  /** Answers a request, with an error if need be. Never throws. */
  serve(request: Request, bytes: number): void {
    const answer = () => this.#answer(request)
    if (this.#service.handlers.isOwn(request.name)) this.work.beside(answer, bytes)
    else this.work.serve(answer, bytes)
  }

  #answer(request: Request): Awaitable<void> {
    const { name, args, kwargs } = request
    const handler = this.#service.handlers.requestOf(name)
    if (handler === undefined)
      return this.#fail(request, { code: 'unknown', message: `there is no request ${shown(name)}` })
    try {
      const value = handler(this.client, args, kwargs)
      if (!isPromise(value)) return this.#succeed(request, value)
      return value.then(
        late => this.#succeed(request, late),
        error => this.#failed(request, error),
      )
    } catch (error) {
      this.#failed(request, error)
    }
  }

  #succeed(request: Request, value: unknown): void {
    const { name, id } = request
    try {
      this.send({ type: 'response', name, id, value })
    } catch (error) {
      this.#complain(error, `the answer to ${shown(name)} is no JSON`)
      this.#fail(request, { code: 'unserializable', message: `the answer to ${shown(name)} is no JSON` })
    }
  }

  /** Who asked is told what the handler threw; so is the log, unless that is a refusal of ours. */
  #failed(request: Request, error: unknown): void {
    if (!(error instanceof Refused)) this.#complain(error, `request ${shown(request.name)} failed`)
    this.#fail(request, failureIn(request.name, error))
  }

  #fail({ name, id }: Request, error: Failure): void {
    this.send({ type: 'response', name, id, value: null, error })
  }

  #complain(err: unknown, text: string): void {
    this.#service.complaints.add('error', { err, client: this.client.id }, text)
  }
}

/** What the system says is not for strangers: there may be paths in it. */
function failureIn(name: string, error: unknown): Failure {
  const { code, syscall, message } = Object(error) as { code?: unknown; syscall?: unknown; message?: unknown }
  if (syscall !== undefined) return { code: 'failed', message: `request ${shown(name)} failed` }
  const why = typeof error === 'string' ? error : typeof message === 'string' ? message : shown(error)
  return { code: cut(typeof code === 'string' ? code : 'failed'), message: cut(why) }
}

/** One after the other, each when the one before it is done. */
function inOrder(runs: readonly (() => unknown)[]): Awaitable<void> {
  for (const [i, run] of runs.entries()) {
    const begun = run()
    if (isPromise(begun)) return begun.then(() => inOrder(runs.slice(i + 1)))
  }
}
