export interface InboundLimits {
  /** Messages and bytes that may wait for one client before its socket is paused. */
  readonly maxQueued: number
  readonly maxBytes: number
}

/** Items in a row after which the event loop gets a turn; work that brings more work, such as a consumer that publishes to its own channel, would never end. */
const IN_A_ROW = 1000

/** What a mailbox drives. */
export interface MailboxOwner<T> {
  /** Answers a promise, which never rejects, while the item is being worked on. */
  handle(item: T): Promise<unknown> | undefined
  /** Bytes. */
  sizeOf(item: T): number
  /** The limit is reached; below half of it again. */
  pause(): void
  resume(): void
}

/**
 * Hands messages to a chain one after the other, in the order received.
 *
 * Idle, the chain runs on the caller's stack. Behind a pending promise messages queue up; at the limit the owner is
 * paused, at half of it resumed. For a socket the bound is the limit and one read more: what was read is still parsed.
 */
export class Mailbox<T> {
  readonly #owner: MailboxOwner<T>
  readonly #limits: InboundLimits
  #queue: T[] = []
  #head = 0
  #bytes = 0
  #inARow = 0
  #busy = false
  #paused = false
  #whenIdle: (() => void)[] | undefined

  constructor(owner: MailboxOwner<T>, limits: InboundLimits) {
    this.#owner = owner
    this.#limits = limits
  }

  get waiting(): number {
    return this.#queue.length - this.#head
  }

  /** Whether the owner is paused for this mailbox's sake. */
  get paused(): boolean {
    return this.#paused
  }

  /** Messages wait until this work has ended. */
  begin(work: Promise<unknown>): void {
    this.#busy = true
    this.#drainAfter(work)
  }

  receive(item: T): void {
    if (this.#busy) this.#enqueue(item)
    else if (this.#work(item)) this.#drain()
  }

  /** Runs `then` as soon as nothing is worked on and nothing waits; at once if that is so now. */
  whenIdle(then: () => void): void {
    if (this.#busy) this.#whenIdle = [...(this.#whenIdle ?? []), then]
    else then()
  }

  /** Forgets what waits; answers how many messages that were. */
  discard(): number {
    const dropped = this.waiting
    this.#reset()
    return dropped
  }

  /** Answers whether the message has been dealt with; otherwise the queue goes on when its promise settles. */
  #work(item: T): boolean {
    this.#busy = true
    const pending = this.#owner.handle(item)
    if (pending === undefined) return true
    this.#drainAfter(pending)
    return false
  }

  /** Work that fails after all must not keep everything behind it waiting for ever. */
  #drainAfter(work: Promise<unknown>): void {
    const drain = () => this.#drain()
    work.then(drain, drain)
  }

  #enqueue(item: T): void {
    this.#queue.push(item)
    this.#bytes += this.#owner.sizeOf(item)
    if (this.#paused || (this.waiting < this.#limits.maxQueued && this.#bytes < this.#limits.maxBytes)) return
    this.#paused = true
    this.#owner.pause()
  }

  #drain(): void {
    while (this.#head < this.#queue.length) {
      if (this.#inARow++ === IN_A_ROW) {
        this.#inARow = 0
        setImmediate(() => this.#drain())
        return
      }
      const item = this.#queue[this.#head++]!
      this.#bytes -= this.#owner.sizeOf(item)
      this.#forgetWorked()
      this.#resumeAtHalf()
      if (!this.#work(item)) return
    }
    this.#reset()
    this.#inARow = 0
    this.#busy = false
    const then = this.#whenIdle
    this.#whenIdle = undefined
    if (then !== undefined) for (const run of then) run()
  }

  /** A queue that is never empty must not keep what has left it. */
  #forgetWorked(): void {
    if (this.#head < 64 || this.#head < this.#queue.length / 2) return
    this.#queue = this.#queue.slice(this.#head)
    this.#head = 0
  }

  #reset(): void {
    if (this.#queue.length > 0) this.#queue = []
    this.#head = 0
    this.#bytes = 0
    this.#resumeAtHalf()
  }

  #resumeAtHalf(): void {
    if (!this.#paused || this.waiting > this.#limits.maxQueued / 2 || this.#bytes > this.#limits.maxBytes / 2) return
    this.#paused = false
    this.#owner.resume()
  }
}
