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
 * A `SerialQueue` for each key, which exists while it has tasks.
 *
 * @example
 * const queues = new SerialQueues<Client>()
 * await queues.run(client, () => answer(client))
 */
export class SerialQueues<K> {
  readonly #queues = new Map<K, SerialQueue>()

  /** The result of the task. @throws (rejects) the error of the task. */
  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? new SerialQueue()
    this.#queues.set(key, queue)
    try {
      return await queue.run(task)
    } finally {
      if (queue.settled === undefined) this.#queues.delete(key)
    }
  }
}
