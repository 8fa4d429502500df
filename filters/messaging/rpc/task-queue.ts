import type { Awaitable } from 'filtered-websocket'
import { isPromise, Limiter, SerialQueue } from 'filtered-websocket/kit'

/** The tasks of one client. Actions run one after the other, each request after the actions before it. */
export class TaskQueue {
  readonly #limiter: Limiter
  readonly #actions = new SerialQueue()
  readonly #onError: (error: unknown) => void
  #onRoom: (() => void) | undefined
  #onIdle: (() => void) | undefined

  /**
   * @param max - tasks that run, and as many that wait.
   * @param maxBytes - bytes of the messages of running tasks, and as many of waiting ones; the last may exceed it.
   * @param onError - called with an error that no caller gets.
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

  /** Settles when the actions so far are done. */
  get actionsDone(): Promise<void> | undefined {
    return this.#actions.settled
  }

  /** Starts a task at once, or when there is room for it, in order; its error then goes to `onError`. */
  start(task: () => void, bytes: number): void {
    if (!this.isFull) {
      task()
      return
    }
    this.#limiter.whenFree(() => {
      try {
        task()
      } catch (error) {
        this.#onError(error)
      }
    }, bytes)
  }

  /** Settles when a task may wait again, or on abort. One caller at a time: a client's messages are handled one after the other. */
  room(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const end = () => {
        signal.removeEventListener('abort', end)
        this.#onRoom = undefined
        resolve()
      }
      this.#onRoom = end
      signal.addEventListener('abort', end)
    })
  }

  /** Settles when no task runs. Called once. */
  async idle(): Promise<void> {
    if (this.#limiter.running === 0) return
    await new Promise<void>(resolve => {
      this.#onIdle = resolve
    })
  }

  /** Runs an action after the actions before it. Throws its synchronous error if there are none. */
  runAction(action: () => Awaitable<void>, bytes: number): void {
    this.track(this.#actions.run(action), bytes)
  }

  /** Runs a request after the actions before it; later tasks do not wait for it. */
  runRequest(request: () => Awaitable<void>, bytes: number): void {
    const before = this.#actions.settled
    this.track(before === undefined ? request() : before.then(request), bytes)
  }

  /** Counts a task that runs already; later tasks do not wait for it. */
  track(task: Awaitable<void>, bytes: number): void {
    if (!isPromise(task)) return
    this.#limiter.take(bytes)
    task.then(undefined, this.#onError).then(() => {
      this.#limiter.free(bytes)
      if (this.#limiter.running === 0) this.#onIdle?.()
      if (!this.shouldPause) this.#onRoom?.()
    })
  }
}
