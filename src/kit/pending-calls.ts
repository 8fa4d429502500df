/** Milliseconds within which a call must be answered. */
export const CALL_TIMEOUT = 10_000
/** Milliseconds: the longest timeout of a call, and of a Node timer. */
const MAX_TIMEOUT = 2_147_483_647

export interface CallOptions {
  /** Milliseconds, 1 to 2,147,483,647. Default: 10,000. */
  readonly timeout?: number
  /** Ends the wait on abort, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** A call has no answer, or its answer is an error. */
export class CallFailed extends Error {
  /** `timeout`, `gone` (the connection ended), `busy` (too many calls wait), `none` (no such client), or the code of the answer. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** A call, as errors name it: `CALLEE has not answered "NAME" within 10000 ms`. */
export interface PendingCall {
  readonly callee: string
  readonly name: string
}

interface Entry<C> {
  readonly call: C
  resolve(value: unknown): void
  reject(error: unknown): void
  /** Stops the timer and the signal's listener. */
  stop(): void
}

/**
 * Calls that wait for their answers, by id, in bounded number. Each settles once: with its answer, at its timeout, or when
 * its signal aborts.
 *
 * @example
 * const calls = new PendingCalls(1000, '--robots-max-calls')
 * const battery = calls.start(id, { callee: 'robot 7', name: 'battery' }, id => socket.write(`${id} battery\n`))
 * onLine(({ id, value }) => calls.resolve(id, value))
 * socket.on('close', () => calls.rejectAll(({ callee }) => new CallFailed('gone', `${callee} has disconnected`)))
 */
export class PendingCalls<C extends PendingCall = PendingCall> {
  readonly #max: number
  readonly #limit: string
  readonly #entries = new Map<string, Entry<C>>()

  /**
   * @param max - calls that may wait.
   * @param limit - the name of that limit, for errors.
   */
  constructor(max: number, limit: string) {
    this.#max = max
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  /** The call that waits under an id. */
  get(id: string): C | undefined {
    return this.#entries.get(id)?.call
  }

  /** The calls that wait now, in the order in which they were started. */
  all(): readonly C[] {
    return Array.from(this.#entries.values(), ({ call }) => call)
  }

  /**
   * Sends a call and waits for its answer.
   *
   * @param id - MUST be unused.
   * @param send - sends it; may settle it at once.
   * @throws (rejects) CallFailed `busy`, `timeout`; RangeError for an invalid timeout; TypeError for a used id; the signal's reason; the error of
   * `send`; the error that `reject` passes.
   */
  async start(
    id: string,
    call: C,
    send: (id: string) => void,
    { timeout = CALL_TIMEOUT, signal }: CallOptions = {},
  ): Promise<unknown> {
    signal?.throwIfAborted()
    if (!(timeout >= 1 && timeout <= MAX_TIMEOUT))
      throw new RangeError(`the timeout of a call is 1 to ${MAX_TIMEOUT} milliseconds, received ${timeout}`)
    if (this.#entries.has(id)) throw new TypeError(`the id ${JSON.stringify(id)} belongs to a call that waits`)
    if (this.#entries.size >= this.#max)
      throw new CallFailed('busy', `${this.#max} calls wait for answers, ${this.#limit} allows no more`)
    return new Promise((resolve, reject) => {
      const late = () => {
        const message = `${call.callee} has not answered ${JSON.stringify(call.name)} within ${timeout} ms`
        this.reject(id, new CallFailed('timeout', message))
      }
      const abort = () => this.reject(id, signal!.reason)
      const timer = setTimeout(late, timeout)
      const stop = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      this.#entries.set(id, { call, resolve, reject, stop })
      signal?.addEventListener('abort', abort)
      try {
        send(id)
      } catch (error) {
        this.reject(id, error)
      }
    })
  }

  /** Settles a call with its answer; no effect if it does not wait. */
  resolve(id: string, value: unknown): void {
    this.#take(id)?.resolve(value)
  }

  /** Settles a call with an error; no effect if it does not wait. */
  reject(id: string, error: unknown): void {
    this.#take(id)?.reject(error)
  }

  /** Settles all calls with errors, as when their connection has ended. */
  rejectAll(errorOf: (call: C) => unknown): void {
    for (const [id, { call }] of this.#entries) this.reject(id, errorOf(call))
  }

  #take(id: string): Entry<C> | undefined {
    const entry = this.#entries.get(id)
    entry?.stop()
    this.#entries.delete(id)
    return entry
  }
}
