import { type Awaitable, isPromise } from '../contract/deadline.ts'

/**
 * Runs tasks one after the other, in the order of the calls. An error goes to the caller of its task alone.
 *
 * A task starts within the call of `run` if no other is running. A task that is added while another one starts is queued in a
 * microtask, after tasks that are added until then. A task MUST NOT wait for a later task of its own queue.
 *
 * @example
 * const queue = new SerialQueue()
 * await queue.run(() => appendFile(path, line))
 */
export class SerialQueue {
  #last: Promise<void> | undefined
  #isStarting = false

  /** Settles when all tasks so far are done, never rejects; `undefined`: no task is running. */
  get settled(): Promise<void> | undefined {
    return this.#last
  }

  /** The result of the task. @throws (or rejects) the error of the task. */
  run<T>(task: () => Promise<T>): Promise<T>
  run<T>(task: () => Awaitable<T>): Awaitable<T>
  run<T>(task: () => Awaitable<T>): Awaitable<T> {
    // Called by a task that has not returned yet.
    if (this.#isStarting) return Promise.resolve().then(() => this.run(task))
    const result = this.#last === undefined ? this.#start(task) : this.#last.then(task)
    if (!isPromise(result)) return result
    const settle = () => {
      if (this.#last === last) this.#last = undefined
    }
    const last = Promise.resolve(result.then(settle, settle))
    this.#last = last
    return result
  }

  #start<T>(task: () => Awaitable<T>): Awaitable<T> {
    this.#isStarting = true
    try {
      return task()
    } finally {
      this.#isStarting = false
    }
  }
}

/**
 * A `SerialQueue` for each key. A key that is not referenced elsewhere is collected with its queue.
 *
 * @example
 * const queues = new SerialQueues<Client>()
 * await queues.of(client).run(() => answer(client))
 */
export class SerialQueues<K extends object> {
  readonly #queues = new WeakMap<K, SerialQueue>()

  /** The queue of a key; always the same. */
  of(key: K): SerialQueue {
    const known = this.#queues.get(key)
    if (known !== undefined) return known
    const queue = new SerialQueue()
    this.#queues.set(key, queue)
    return queue
  }
}
