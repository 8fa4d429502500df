import type { Awaitable } from 'filtered-websocket'
import { isPromise, Limiter, SerialQueue } from 'filtered-websocket/kit'

/** The task queue of one client: actions run one after the other, each request after the actions before it. */
export class Work {
  readonly #limiter: Limiter
  readonly #actions = new SerialQueue()
  readonly #onError: (error: unknown) => void
  #whenRoom: (() => void) | undefined
  #whenDone: (() => void) | undefined

  /**
   * @param max - tasks that run, and as many that wait.
   * @param maxBytes - bytes of the messages of running tasks, and as many of waiting ones; the last may exceed it.
   * @param onError - called with the error of an action that has no caller any more.
   */
  constructor(max: number, maxBytes: number, onError: (error: unknown) => void) {
    this.#limiter = new Limiter({ max, maxWeight: maxBytes, maxWaiting: max, maxWaitingWeight: maxBytes })
    this.#onError = onError
  }

  get isFull(): boolean {
    return this.#limiter.isFull
  }

  /** The waiting tasks have reached the limit: read no further message. */
  get shouldPause(): boolean {
    return this.#limiter.isWaitingFull
  }

  /** Begins a task at once or, in its turn, when there is room; its error then goes to `onError`. */
  accept(begin: () => void, bytes: number): void {
    if (this.isFull) this.#limiter.whenFree(() => this.#begin(begin), bytes)
    else begin()
  }

  /** Settles when a task may wait again. One caller at a time: the messages of a client are handled one after the other. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.#whenRoom = resolve
    })
  }

  /** Settles when no task runs. Called once. */
  async done(): Promise<void> {
    if (this.#limiter.running === 0) return
    await new Promise<void>(resolve => {
      this.#whenDone = resolve
    })
  }

  /** Settles when the actions so far are done. */
  get actionsDone(): Promise<void> | undefined {
    return this.#actions.settled
  }

  /** Runs an action after the actions before it. Throws its synchronous error if there are none. */
  act(run: () => Awaitable<void>, bytes: number): void {
    this.#follow(this.#actions.run(run), bytes)
  }

  /** Runs a request after the actions before it; later tasks do not wait for it. */
  serve(run: () => Awaitable<void>, bytes: number): void {
    const before = this.#actions.settled
    this.concurrently(before === undefined ? run : () => before.then(run), bytes)
  }

  /** Runs a request at once. */
  concurrently(run: () => Awaitable<void>, bytes: number): void {
    this.#follow(run(), bytes)
  }

  #follow(begun: Awaitable<void>, bytes: number): void {
    if (!isPromise(begun)) return
    this.#limiter.take(bytes)
    begun.then(undefined, this.#onError).then(() => {
      this.#limiter.free(bytes)
      if (this.#limiter.running === 0) this.#whenDone?.()
      if (this.shouldPause) return
      this.#whenRoom?.()
      this.#whenRoom = undefined
    })
  }

  #begin(begin: () => void): void {
    try {
      begin()
    } catch (error) {
      this.#onError(error)
    }
  }
}
