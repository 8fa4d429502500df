export interface InboundLimits {
  /** Messages and bytes that may wait for one client before its socket is paused. */
  readonly maxQueued: number
  readonly maxBytes: number
}

/** Items handled in one turn of the event loop. A consumer that publishes to its own channel would never yield otherwise. */
const IN_A_ROW = 1000

/** The owner of a mailbox, which handles its items. */
export interface MailboxOwner<T> {
  /** Returns a promise, which MUST NOT reject, when the item is not handled at once. */
  handle(item: T): Promise<unknown> | undefined
  /** Bytes. */
  sizeOf(item: T): number
  /** The item in memory of its own size, as it waits. Default: unchanged. */
  compacted?(item: T): T
  /** Called when the limit is reached; `resume` when half of it is free again. */
  pause(): void
  resume(): void
}

/**
 * Hands messages to a chain one after the other, in the order received.
 *
 * An idle mailbox runs the chain on the caller's stack. Behind a pending promise messages queue up; at the limit the owner is
 * paused, at half of it resumed. A socket may exceed the limit by the messages of one read.
 */
export class Mailbox<T> {
  readonly #owner: MailboxOwner<T>
  readonly #limits: InboundLimits
  #queue: T[] = []
  #head = 0
  #bytes = 0
  #inARow = 0
  #busy: boolean
  #paused = false
  #whenIdle: (() => void)[] | undefined

  /** @param isBusy - whether an item is handled already: `begin` follows. */
  constructor(owner: MailboxOwner<T>, limits: InboundLimits, isBusy = false) {
    this.#owner = owner
    this.#limits = limits
    this.#busy = isBusy
  }

  get waiting(): number {
    return this.#queue.length - this.#head
  }

  /** Whether all items are handled. */
  get isIdle(): boolean {
    return !this.#busy
  }

  /** Whether this mailbox has paused its owner. */
  get paused(): boolean {
    return this.#paused
  }

  /** Makes messages wait for this work. */
  begin(work: Promise<unknown>): void {
    this.#busy = true
    this.#drainAfter(work)
  }

  receive(item: T): void {
    if (this.#busy) this.#enqueue(item)
    else if (this.#handle(item)) this.#drain()
  }

  /** Runs `then` when the mailbox is idle; at once if it is. */
  whenIdle(then: () => void): void {
    if (this.#busy) this.#whenIdle = [...(this.#whenIdle ?? []), then]
    else then()
  }

  /** Discards the queue; returns the number of its messages. */
  discard(): number {
    const dropped = this.waiting
    this.#reset()
    return dropped
  }

  /** Returns whether the item is handled; otherwise the queue continues when its promise settles. */
  #handle(item: T): boolean {
    this.#busy = true
    const pending = this.#owner.handle(item)
    if (pending === undefined) return true
    this.#drainAfter(pending)
    return false
  }

  /** A rejection, which must not happen, does not block the queue. */
  #drainAfter(work: Promise<unknown>): void {
    const drain = () => this.#drain()
    work.then(drain, drain)
  }

  #enqueue(item: T): void {
    this.#queue.push(this.#owner.compacted?.(item) ?? item)
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
      this.#releaseHandled()
      this.#resumeAtHalf()
      if (!this.#handle(item)) return
    }
    this.#reset()
    this.#inARow = 0
    this.#busy = false
    const then = this.#whenIdle
    this.#whenIdle = undefined
    if (then !== undefined) for (const run of then) run()
  }

  /** A queue that is never empty must release the items that have left it. */
  #releaseHandled(): void {
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
