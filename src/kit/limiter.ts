/** A limit is reached: `code` is `busy`, and the message says which limit. */
export class LimitError extends Error {
  readonly code = 'busy'
}

export interface LimiterOptions {
  /** Tasks at a time. */
  readonly max: number
  /** Total weight of the running tasks, such as bytes, from which on no further task starts. Default: no limit. */
  readonly maxWeight?: number
  /** Tasks that may wait. Default: no limit. */
  readonly maxWaiting?: number
  /** Total weight of the waiting tasks from which on no further task may wait. Default: no limit. */
  readonly maxWaitingWeight?: number
  /** Noun for the tasks in errors. Default: `tasks`. */
  readonly noun?: string
}

interface Waiting {
  readonly start: () => void
  readonly weight: number
}

/**
 * Starts at most `max` tasks at a time; the others wait in the order of the calls, in bounded number.
 *
 * @example
 * const limiter = new Limiter({ max: 2, maxWaiting: 64, noun: 'thumbnails' })
 * const thumbnail = await limiter.run(() => resize(path), client.signal)
 */
export class Limiter {
  readonly #options: Required<LimiterOptions>
  readonly #waiting = new Set<Waiting>()
  #order: Iterator<Waiting, undefined> | undefined
  #running = 0
  #weight = 0
  #waitingWeight = 0

  constructor(options: LimiterOptions) {
    const none = Number.POSITIVE_INFINITY
    this.#options = { maxWeight: none, maxWaiting: none, maxWaitingWeight: none, noun: 'tasks', ...options }
  }

  /** Tasks that are running. */
  get running(): number {
    return this.#running
  }

  /** No task can start. */
  get isFull(): boolean {
    return this.#running >= this.#options.max || this.#weight >= this.#options.maxWeight
  }

  /** No further task may wait. */
  get isWaitingFull(): boolean {
    const { maxWaiting, maxWaitingWeight } = this.#options
    return this.#waiting.size >= maxWaiting || this.#waitingWeight >= maxWaitingWeight
  }

  /** Counts a task as running, whether or not there is room. `free` MUST follow once, with the same weight. */
  take(weight = 0): void {
    this.#running++
    this.#weight += weight
  }

  /** Ends what `take` has begun, and starts tasks that wait. */
  free(weight = 0): void {
    this.#running--
    this.weigh(-weight)
  }

  /** Changes the total weight of the running tasks. */
  weigh(difference: number): void {
    this.#weight += difference
    while (!this.isFull) {
      // One iterator, since a new one would pass all entries that were deleted before the first one again.
      this.#order ??= this.#waiting.values()
      const { value: waiting } = this.#order.next()
      if (waiting === undefined) {
        this.#order = undefined
        return
      }
      this.#remove(waiting)
      waiting.start()
    }
  }

  /**
   * Calls `start` when there is room, at once or later. `start` MUST call `take` if its task outlives it, and MUST NOT throw.
   *
   * @returns stops waiting.
   * @throws LimitError when no further task may wait.
   */
  whenFree(start: () => void, weight = 0): () => void {
    const waiting = { start, weight }
    if (!this.isFull && this.#waiting.size === 0) start()
    else if (this.isWaitingFull)
      throw new LimitError(`${this.#waiting.size} ${this.#options.noun} wait, try again later`)
    else {
      this.#waiting.add(waiting)
      this.#waitingWeight += weight
    }
    return () => this.#remove(waiting)
  }

  /**
   * Waits for room and takes it: `free` MUST follow, with the same weight.
   *
   * @param signal - ends the wait.
   * @throws (rejects) LimitError when no further task may wait; the signal's reason.
   */
  async enter(weight = 0, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    let stopWaiting = () => {}
    let abort = () => {}
    try {
      await new Promise<void>((resolve, reject) => {
        abort = () => reject(signal!.reason)
        signal?.addEventListener('abort', abort)
        const start = () => {
          this.take(weight)
          resolve()
        }
        stopWaiting = this.whenFree(start, weight)
      })
    } finally {
      signal?.removeEventListener('abort', abort)
      stopWaiting()
    }
  }

  /** The result of a task, which runs when there is room. @throws (rejects) as `enter`; the error of the task. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.enter(0, signal)
    try {
      return await task()
    } finally {
      this.free()
    }
  }

  #remove(waiting: Waiting): void {
    if (this.#waiting.delete(waiting)) this.#waitingWeight -= waiting.weight
  }
}

/**
 * Grants places at once or not at all: `max` in total, `maxPerOwner` to one owner.
 *
 * @example
 * const places = new OwnerLimiter(64, 2, 'uploads')
 * const leave = places.enter(client)
 * try { await upload() } finally { leave() }
 */
export class OwnerLimiter {
  readonly #max: number
  readonly #maxPerOwner: number
  readonly #noun: string
  /** Of owners that have any. */
  readonly #counts = new Map<unknown, number>()
  #count = 0

  /** @param noun - plural, for errors. */
  constructor(max: number, maxPerOwner: number, noun: string) {
    this.#max = max
    this.#maxPerOwner = maxPerOwner
    this.#noun = noun
  }

  /**
   * Takes a place.
   *
   * @param owner - `undefined`: a place that counts in the total alone.
   * @returns leaves the place; further calls have no effect.
   * @throws LimitError
   */
  enter(owner?: unknown): () => void {
    const refuse = (limit: string) => new LimitError(`${limit} are running, try again later`)
    if (owner !== undefined && this.#countOf(owner) >= this.#maxPerOwner)
      throw refuse(`${this.#maxPerOwner} ${this.#noun} of this client`)
    if (this.#count >= this.#max) throw refuse(`${this.#max} ${this.#noun}`)
    this.#move(owner, 1)
    let isInside = true
    return () => {
      if (isInside) this.#move(owner, -1)
      isInside = false
    }
  }

  #move(owner: unknown, step: 1 | -1): void {
    this.#count += step
    if (owner === undefined) return
    const count = this.#countOf(owner) + step
    if (count > 0) this.#counts.set(owner, count)
    else this.#counts.delete(owner)
  }

  #countOf(owner: unknown): number {
    return this.#counts.get(owner) ?? 0
  }
}
