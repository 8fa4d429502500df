import type { Client } from 'filtered-websocket'
import { isPromise } from 'filtered-websocket/kit'
import { type Envelope, type Request, resultOf } from './envelope.ts'
import { raised, unregistered } from './errors.ts'
import type { Procedures } from './procedures.ts'
import type { Publisher } from './publisher.ts'

/** The sender of a call. */
export interface Caller {
  readonly client: Client
  readonly isClosed: boolean
  /** Sends a reply; returns `undefined` if it was sent at once, else a promise that resolves when it is. */
  reply(reply: Envelope, method: string): Promise<void> | undefined
  /** Resolves when the client has room for more. */
  room(): Promise<void>
}

/** Runs the calls of all clients. */
export class Calls {
  readonly #procedures: Procedures
  readonly #publisher: Publisher
  readonly #isDebug: boolean
  readonly #onRaised: (error: unknown, method: string) => void

  /** @param isDebug - whether replies contain the stack of errors. */
  constructor(
    procedures: Procedures,
    publisher: Publisher,
    isDebug: boolean,
    onRaised: (error: unknown, method: string) => void,
  ) {
    this.#procedures = procedures
    this.#publisher = publisher
    this.#isDebug = isDebug
    this.#onRaised = onRaised
  }

  /** Runs a call and sends its reply; returns `undefined` if both are done. Errors of the procedure become a reply. */
  run({ id, method, args, kwargs }: Request, caller: Caller): Promise<void> | undefined {
    const procedure = this.#procedures.get(method)
    if (procedure === undefined) return caller.reply(unregistered(id, method), method)
    const all = Object.keys(kwargs).length > 0 ? [...args, kwargs] : args
    let answer: Envelope
    this.#publisher.defer()
    try {
      const outcome = this.#procedures.as(caller.client, () => procedure(...all))
      if (isGenerator(outcome) || isPromise(outcome)) {
        this.#publisher.resume(false)
        return this.#finish(id, method, outcome, caller)
      }
      answer = resultOf(id, outcome)
    } catch (error) {
      answer = this.#raised(id, method, error)
    }
    const sent = caller.reply(answer, method)
    this.#publisher.resume(true)
    return sent
  }

  async #finish(
    id: string,
    method: string,
    outcome: AsyncGenerator | PromiseLike<unknown>,
    caller: Caller,
  ): Promise<void> {
    let answer: Envelope
    try {
      answer = resultOf(id, await (isGenerator(outcome) ? this.#follow(method, outcome, caller) : outcome))
    } catch (error) {
      answer = this.#raised(id, method, error)
    }
    await caller.reply(answer, method)
  }

  #raised(id: string, method: string, error: unknown): Envelope {
    this.#onRaised(error, method)
    return raised(id, method, error, this.#isDebug)
  }

  /**
   * Publishes the yielded values to the caller, and returns the result. Ends the generator when the caller has disconnected
   * or a value cannot be published.
   */
  async #follow(method: string, generator: AsyncGenerator, caller: Caller): Promise<unknown> {
    try {
      while (!caller.isClosed) {
        const { done, value } = await this.#procedures.as(caller.client, () => generator.next())
        if (done) {
          this.#publisher.flush()
          return value
        }
        this.#publisher.publish(progressOf(method), value, { to: caller.client })
        await caller.room()
      }
    } finally {
      await generator.return(undefined)
    }
  }
}

/** The topic of values that a procedure yields. */
function progressOf(method: string): string {
  return `${method}.progress`
}

function isGenerator(value: unknown): value is AsyncGenerator {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value && 'next' in value
}
