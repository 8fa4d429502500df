import { randomInt } from 'node:crypto'
import type { Client } from 'filtered-websocket'
import { Incoming } from '../wire/incoming.ts'
import type { Failure, Response } from '../wire/message.ts'

/** Milliseconds for an answer, if a call says nothing else. */
export const TIMEOUT = 10_000
/** Milliseconds that a timer can hold. */
export const MAX_TIMEOUT = 2_147_483_647
/** Ids of four digits, as the original has them; of eight when that many are taken. */
const FOUR_DIGITS = 10_000
const EIGHT_DIGITS = 100_000_000

/** How long a call waits. */
export interface CallOptions {
  /** Milliseconds; default: 10,000. */
  readonly timeout?: number
  /** Gives up when it is aborted, with its reason. */
  readonly signal?: AbortSignal
}

/** A call without an answer, or whose answer is an error. */
export class CallFailed extends Error {
  /** `timeout`, `gone`: the client; `busy`: too many wait; `none`: no messaging client. All else is the peer's word. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }

  /** What a peer has answered in place of a value. */
  static of({ code, message }: Failure): CallFailed {
    return new CallFailed(code, message)
  }
}

interface Call {
  readonly name: string
  readonly isForFile: boolean
  end(settle: () => void): void
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Calls to one client that wait for their answers. */
export class Pending {
  readonly #client: Client
  readonly #max: number
  readonly #calls = new Map<string, Call>()
  #next = randomInt(FOUR_DIGITS)
  #isListening = false

  constructor(client: Client, max: number) {
    this.#client = client
    this.#max = max
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @param send - sends it with an id of its own, or with the one that is given.
   * @throws (rejects) CallFailed; what `send` throws; the signal's reason.
   */
  call(name: string, send: (id: string) => void, options?: CallOptions, given?: string): Promise<unknown> {
    return this.#call(name, send, false, options, given)
  }

  /** The same for a file, which is the content of the answer: that is what it answers. */
  file(name: string, send: (id: string) => void, options?: CallOptions): Promise<Response> {
    return this.#call(name, send, true, options) as Promise<Response>
  }

  async #call(
    name: string,
    send: (id: string) => void,
    isForFile: boolean,
    { timeout = TIMEOUT, signal }: CallOptions = {},
    given?: string,
  ): Promise<unknown> {
    signal?.throwIfAborted()
    checkTimeout(timeout)
    const { id: client } = this.#client
    if (this.#client.signal.aborted) throw gone(client, name)
    if (this.#calls.size >= this.#max)
      throw new CallFailed('busy', `client ${client} has ${this.#max} calls to answer, --messaging-max-calls is that`)
    this.#listen()
    return new Promise((resolve, reject) => {
      const id = given ?? this.#freeId()
      const abort = () => call.end(() => reject(signal!.reason))
      const late = () => call.end(() => reject(new CallFailed('timeout', unanswered(client, name, timeout))))
      const timer = setTimeout(late, timeout)
      const call: Call = {
        name,
        isForFile,
        resolve,
        reject,
        end: settle => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
          this.#calls.delete(id)
          settle()
        },
      }
      this.#calls.set(id, call)
      signal?.addEventListener('abort', abort)
      try {
        send(id)
      } catch (error) {
        call.end(() => reject(error))
      }
    })
  }

  /** Whether a call waited for this: one with another name, or for something else, keeps waiting for its own. */
  settle(response: Response): boolean {
    const { id, name, value, error, content } = response
    const call = this.#calls.get(String(id))
    if (call === undefined || call.name !== name) return false
    if (error === undefined && call.isForFile !== (content !== undefined)) return false
    if (content instanceof Incoming) content.claim()
    call.end(() => {
      if (error === undefined) call.resolve(call.isForFile ? response : value)
      else call.reject(CallFailed.of(error))
    })
    return true
  }

  #listen(): void {
    if (this.#isListening) return
    this.#isListening = true
    const { signal, id } = this.#client
    const end = () => {
      for (const call of [...this.#calls.values()]) call.end(() => call.reject(gone(id, call.name)))
    }
    signal.addEventListener('abort', end, { once: true })
  }

  /** Counted up, so that what comes too late finds its id unused for long. */
  #freeId(): string {
    const [count, digits] = this.#calls.size < FOUR_DIGITS / 2 ? [FOUR_DIGITS, 4] : [EIGHT_DIGITS, 8]
    let id: string
    do {
      this.#next = (this.#next + 1) % count
      id = String(this.#next).padStart(digits, '0')
    } while (this.#calls.has(id))
    return id
  }
}

/** What another node is told of why a call failed. */
export function wordOf(error: unknown): Failure {
  const { code, message } = error as { code?: unknown; message?: unknown }
  return { code: typeof code === 'string' ? code : 'failed', message: String(message) }
}

/** @throws RangeError */
export function checkTimeout(ms: number): void {
  if (!(ms >= 1 && ms <= MAX_TIMEOUT))
    throw new RangeError(`the timeout of a call is 1 to ${MAX_TIMEOUT} milliseconds, received ${ms}`)
}

function unanswered(client: string, name: string, timeout: number): string {
  return `client ${client} has not answered ${JSON.stringify(name)} within ${timeout} ms`
}

export function gone(client: string, name: string): CallFailed {
  return new CallFailed('gone', `client ${client} has gone without an answer to ${JSON.stringify(name)}`)
}
