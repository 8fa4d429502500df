import type { Frame } from '../fanout/wire.ts'

/** A client on hold: who holds it, and what waits for its admission. */
export class Admission {
  /** Orders of the filters that hold it. */
  #holders: readonly number[] = []
  #waiting: Frame[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  /** Order of the last filter that its messages reach: the first holder. */
  get reach(): number {
    return Math.min(...this.#holders)
  }

  /** The holder, if there is just one. */
  get only(): number | undefined {
    return this.#holders.length === 1 ? this.#holders[0] : undefined
  }

  isHeldBy(order: number): boolean {
    return this.#holders.includes(order)
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  hold(order: number): void {
    if (!this.#holders.includes(order)) this.#holders = [...this.#holders, order]
  }

  /** Ends one filter's hold; answers whether none is left. */
  lift(order: number): boolean {
    this.#holders = this.#holders.filter(holder => holder !== order)
    return this.#holders.length === 0
  }

  /** Keeps it until the admission. */
  keep(frame: Frame): void {
    this.#waiting.push(frame)
    this.#bytes += frame.length
  }

  /** Runs `onLate` after `ms`, unless stopped before; 0: never. */
  startTimer(ms: number, onLate: () => void): void {
    if (this.#timer !== undefined || ms === 0) return
    this.#timer = setTimeout(onLate, ms)
    this.#timer.unref()
  }

  /** Ends the waiting; answers what was kept. */
  stop(): readonly Frame[] {
    clearTimeout(this.#timer)
    const kept = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return kept
  }
}
