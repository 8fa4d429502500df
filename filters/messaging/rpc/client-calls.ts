import { randomInt } from 'node:crypto'
import type { Client } from 'filtered-websocket'
import { CallFailed, type CallOptions, type PendingCall, PendingCalls } from 'filtered-websocket/kit'
import { ContentStream } from '../wire/content-stream.ts'
import type { Response } from '../wire/message.ts'

/** Ids have four digits, as in clever-show; eight when half of those are in use. */
const FOUR_DIGITS = 10_000
const EIGHT_DIGITS = 100_000_000

interface Call extends PendingCall {
  /** Whether the answer is a file. */
  readonly isForFile: boolean
}

/** Calls to one client that wait for their answers. */
export class ClientCalls {
  readonly #client: Client
  readonly #calls: PendingCalls<Call>
  #nextId = randomInt(FOUR_DIGITS)
  #isListening = false

  constructor(client: Client, max: number) {
    this.#client = client
    this.#calls = new PendingCalls(max, '--messaging-max-calls')
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @param send - sends it with the id that it gets.
   * @param isForFile - resolves with the response, whose content is a file, in place of its value.
   * @param id - default: a free one.
   * @throws (rejects) CallFailed; RangeError for an invalid timeout; the error of `send`; the signal's reason.
   */
  start(
    name: string,
    send: (id: string) => void,
    options?: CallOptions,
    isForFile = false,
    id = this.#freeId(),
  ): Promise<unknown> {
    const { signal, id: client } = this.#client
    const callee = `client ${client}`
    if (signal.aborted) return Promise.reject(gone({ callee, name }))
    if (!this.#isListening) signal.addEventListener('abort', () => this.#calls.rejectAll(gone), { once: true })
    this.#isListening = true
    return this.#calls.start(id, { callee, name, isForFile }, send, options)
  }

  /** Settles the call that a response answers. Returns `false` if none waits for it, or for another name or kind of content. */
  settle(response: Response): boolean {
    const { name, value, error, content } = response
    const id = String(response.id)
    const call = this.#calls.get(id)
    if (call?.name !== name) return false
    if (error === undefined && call.isForFile !== (content !== undefined)) return false
    if (content instanceof ContentStream) content.claim()
    if (error === undefined) this.#calls.resolve(id, call.isForFile ? response : value)
    else this.#calls.reject(id, new CallFailed(error.code, error.message))
    return true
  }

  /** Ids count up, so that a late answer does not meet a new call. */
  #freeId(): string {
    const [count, digits] = this.#calls.size < FOUR_DIGITS / 2 ? [FOUR_DIGITS, 4] : [EIGHT_DIGITS, 8]
    let id: string
    do {
      this.#nextId = (this.#nextId + 1) % count
      id = String(this.#nextId).padStart(digits, '0')
    } while (this.#calls.get(id) !== undefined)
    return id
  }
}

/** The connection ended before the answer. */
export function gone({ callee, name }: PendingCall): CallFailed {
  return new CallFailed('gone', `${callee} has gone without an answer to ${JSON.stringify(name)}`)
}
