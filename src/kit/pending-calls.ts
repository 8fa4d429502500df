/** Milliseconds within which a call must be answered. */
export const CALL_TIMEOUT = 10_000
/** Milliseconds: the longest timeout of a call, and of a Node timer. */
export const MAX_TIMEOUT = 2_147_483_647

/** Settled calls after which their Map is replaced. */
const RENEWAL = 1024

export interface CallOptions {
  /** Milliseconds, 1 to 2,147,483,647. Default: 10,000. */
  readonly timeout?: number
  /** Ends the wait on abort, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** A call has no answer, or its answer is an error. */
export class CallFailed extends Error {
  /** `timeout`, `gone` (the connection ended), `busy` (too many calls wait), `none` (no such client), `failed` (no answer is possible), or the code of the answer. */
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
  readonly timeout: number
  /** In milliseconds of `performance.now`. */
  readonly deadline: number
  resolve(value: unknown): void
  reject(error: unknown): void
  /** Removes the listener of the signal. */
  readonly stop: (() => void) | undefined
}

/** Options of `PendingCalls`. */
export interface PendingCallsOptions<C> {
  /** Makes the errors `busy` and `timeout`. Default: `CallFailed`. */
  readonly Failed?: new (
    code: string,
    message: string,
  ) => Error
  /** Called with each call that is settled, before its caller continues. MUST NOT throw. */
  readonly onSettled?: (call: C) => void
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
  readonly #Failed: NonNullable<PendingCallsOptions<C>['Failed']>
  readonly #onSettled: PendingCallsOptions<C>['onSettled']
  #entries = new Map<string, Entry<C>>()
  /** Calls that were settled since the Map was made. */
  #settled = 0
  /** Of all calls: a timer for each call costs a fifth of the time of a call. */
  #timer: ReturnType<typeof setTimeout> | undefined
  /** When the timer fires: at the earliest deadline, or before it. */
  #wakeAt = Infinity

  /**
   * @param max - calls that may wait.
   * @param limit - the name of that limit, for errors.
   */
  constructor(max: number, limit: string, { Failed = CallFailed, onSettled }: PendingCallsOptions<C> = {}) {
    this.#max = max
    this.#limit = limit
    this.#Failed = Failed
    this.#onSettled = onSettled
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
  start(
    id: string,
    call: C,
    send: (id: string) => void,
    { timeout = CALL_TIMEOUT, signal }: CallOptions = {},
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      if (!(timeout >= 1 && timeout <= MAX_TIMEOUT))
        throw new RangeError(`the timeout of a call is 1 to ${MAX_TIMEOUT} milliseconds, received ${timeout}`)
      if (this.#entries.has(id)) throw new TypeError(`the id ${JSON.stringify(id)} belongs to a call that waits`)
      if (this.#entries.size >= this.#max)
        throw new this.#Failed('busy', `${this.#max} calls wait for answers, ${this.#limit} allows no more`)
      const deadline = performance.now() + timeout
      this.#entries.set(id, { call, timeout, deadline, resolve, reject, stop: signal && this.#listen(id, signal) })
      this.#wake(deadline)
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

  #listen(id: string, signal: AbortSignal): () => void {
    const abort = () => this.reject(id, signal.reason)
    signal.addEventListener('abort', abort)
    return () => signal.removeEventListener('abort', abort)
  }

  #wake(at: number): void {
    if (at >= this.#wakeAt) return
    clearTimeout(this.#timer)
    this.#wakeAt = at
    this.#timer = setTimeout(() => this.#rejectLate(), at - performance.now())
  }

  #rejectLate(): void {
    const now = performance.now()
    this.#wakeAt = Infinity
    for (const [id, { call, deadline, timeout }] of this.#entries) {
      if (deadline > now) this.#wake(deadline)
      else {
        const message = `${call.callee} has not answered ${JSON.stringify(call.name)} within ${timeout} ms`
        this.reject(id, new this.#Failed('timeout', message))
      }
    }
  }

  #take(id: string): Entry<C> | undefined {
    const entry = this.#entries.get(id)
    if (entry === undefined) return undefined
    entry.stop?.()
    this.#entries.delete(id)
    // V8 keeps the outgrown tables of a Map, and the entries that they had, until a full collection.
    if (++this.#settled >= RENEWAL + 4 * this.#entries.size) {
      this.#settled = 0
      this.#entries = new Map(this.#entries)
    }
    if (this.#entries.size === 0) {
      clearTimeout(this.#timer)
      this.#wakeAt = Infinity
    }
    this.#onSettled?.(entry.call)
    return entry
  }
}
