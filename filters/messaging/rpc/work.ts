import type { Awaitable } from 'filtered-websocket'

interface Parked {
  readonly begin: () => void
  readonly bytes: number
}

/** What is worked on for one client: its actions one after the other, each request when the actions before it are done. */
export class Work {
  readonly #max: number
  readonly #maxBytes: number
  readonly #onError: (error: unknown) => void
  #count = 0
  #bytes = 0
  /** Of the last action. */
  #turn: Promise<void> | undefined
  /** What has come since there was no room, in order. */
  readonly #parked = new Set<Parked>()
  #parkedBytes = 0
  #whenRoom: (() => void) | undefined
  #whenDone: (() => void) | undefined

  /**
   * @param maxBytes - of what the work is about: with so many there is no room for more.
   * @param onError - hears of actions that fail when nobody waits for them.
   */
  constructor(max: number, maxBytes: number, onError: (error: unknown) => void) {
    this.#max = max
    this.#maxBytes = maxBytes
    this.#onError = onError
  }

  get isFull(): boolean {
    return this.#count >= this.#max || this.#bytes >= this.#maxBytes
  }

  /** As much waits for room as may be worked on: nothing more may. */
  get isCrowded(): boolean {
    return this.#parked.size >= this.#max || this.#parkedBytes >= this.#maxBytes
  }

  /** Begins something at once or, in its turn, when there is room; what it throws then is told as what an action throws. */
  take(begin: () => void, bytes: number): void {
    if (!this.isFull) {
      begin()
      return
    }
    this.#parked.add({ begin, bytes })
    this.#parkedBytes += bytes
  }

  /** Settles when something may wait again. One at a time may ask, as the messages of a client come one after the other. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.#whenRoom = resolve
    })
  }

  /** Settles when nothing is worked on. Asked once. */
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

  /** Does it when the actions before it are done. What it throws meanwhile, with none before it, is the caller's. */
  act(run: () => Awaitable<void>, bytes: number): void {
    const begun = this.#turn === undefined ? run() : this.#turn.then(run)
    if (!isPromise(begun)) return
    const turn = this.#follow(begun, bytes).finally(() => {
      if (this.#turn === turn) this.#turn = undefined
    })
    this.#turn = turn
  }

  /** The same, and nothing waits for it. */
  serve(run: () => Awaitable<void>, bytes: number): void {
    const turn = this.#turn
    this.beside(turn === undefined ? run : () => turn.then(run), bytes)
  }

  /** Does it at once. */
  beside(run: () => Awaitable<void>, bytes: number): void {
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
    if (this.isCrowded) return
    this.#whenRoom?.()
    this.#whenRoom = undefined
  }
}

export function isPromise<T>(value: Awaitable<T>): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function'
}
