import type { Awaitable } from 'filtered-websocket'

interface Parked {
  readonly begin: () => void
  readonly bytes: number
}

/** The task queue of one client: actions run one after the other, each request after the actions before it. */
export class Work {
  readonly #max: number
  readonly #maxBytes: number
  readonly #onError: (error: unknown) => void
  #count = 0
  #bytes = 0
  /** Settles when the last action is done. */
  #turn: Promise<void> | undefined
  /** Tasks that wait for room, in order. */
  readonly #parked = new Set<Parked>()
  #parkedBytes = 0
  #whenRoom: (() => void) | undefined
  #whenDone: (() => void) | undefined

  /**
   * @param max - tasks that run, and as many that wait.
   * @param maxBytes - bytes of the messages of running tasks, and as many of waiting ones; the last may exceed it.
   * @param onError - called with the error of an action that has no caller any more.
   */
  constructor(max: number, maxBytes: number, onError: (error: unknown) => void) {
    this.#max = max
    this.#maxBytes = maxBytes
    this.#onError = onError
  }

  get isFull(): boolean {
    return this.#count >= this.#max || this.#bytes >= this.#maxBytes
  }

  /** The waiting tasks have reached the limit: read no further message. */
  get shouldPause(): boolean {
    return this.#parked.size >= this.#max || this.#parkedBytes >= this.#maxBytes
  }

  /** Begins a task at once or, in its turn, when there is room; its error then goes to `onError`. */
  accept(begin: () => void, bytes: number): void {
    if (!this.isFull) {
      begin()
      return
    }
    this.#parked.add({ begin, bytes })
    this.#parkedBytes += bytes
  }

  /** Settles when a task may wait again. One caller at a time: the messages of a client are handled one after the other. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.#whenRoom = resolve
    })
  }

  /** Settles when no task runs. Called once. */
  async done(): Promise<void> {
    if (this.#count === 0) return
    await new Promise<void>(resolve => {
      this.#whenDone = resolve
    })
  }

  /** Settles when the actions so far are done. */
  get actionsDone(): Promise<void> | undefined {
    return this.#turn
  }

  /** Runs an action after the actions before it. Throws its synchronous error if there are none. */
  act(run: () => Awaitable<void>, bytes: number): void {
    const begun = this.#turn === undefined ? run() : this.#turn.then(run)
    if (!isPromise(begun)) return
    const turn = this.#follow(begun, bytes).finally(() => {
      if (this.#turn === turn) this.#turn = undefined
    })
    this.#turn = turn
  }

  /** Runs a request after the actions before it; later tasks do not wait for it. */
  serve(run: () => Awaitable<void>, bytes: number): void {
    const turn = this.#turn
    this.concurrently(turn === undefined ? run : () => turn.then(run), bytes)
  }

  /** Runs a request at once. */
  concurrently(run: () => Awaitable<void>, bytes: number): void {
    const begun = run()
    if (isPromise(begun)) void this.#follow(begun, bytes)
  }

  async #follow(work: PromiseLike<void>, bytes: number): Promise<void> {
    this.#count++
    this.#bytes += bytes
    try {
      await work
    } catch (error) {
      this.#onError(error)
    } finally {
      this.#count--
      this.#bytes -= bytes
      this.#beginParked()
    }
  }

  #beginParked(): void {
    for (const parked of this.#parked) {
      if (this.isFull) break
      this.#parked.delete(parked)
      this.#parkedBytes -= parked.bytes
      try {
        parked.begin()
      } catch (error) {
        this.#onError(error)
      }
    }
    if (this.#count === 0) this.#whenDone?.()
    if (this.shouldPause) return
    this.#whenRoom?.()
    this.#whenRoom = undefined
  }
}

export function isPromise<T>(value: Awaitable<T>): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function'
}
