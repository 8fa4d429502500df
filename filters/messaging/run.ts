import type { Id } from './message.ts'
import type { Outcome } from './outcome.ts'

/** Characters of an answer up to which it is kept whatever else is: a slot has room for that many. */
const SMALL = 1024
/** Of the answers beyond that, together. */
const MAX_LARGE = 4 * 1024 * 1024

/** One run of a peer's program, as this node knows it: its requests and actions are counted from 1. */
export class Run {
  readonly peer: string
  /** Tells it from other runs. */
  readonly epoch: string
  /** What this node works on, or waits for, by number. */
  readonly underWay = new Map<number, Promise<Outcome>>()
  /** The last that this node has begun. */
  latest = 0
  /** All from here on was noted when it was begun; `undefined`: nobody knows. */
  wholeFrom: number | undefined
  /** Until that is known. */
  ready: Promise<void> | undefined
  /** Its connections to this node. */
  connections = 0
  /** When the last of them ended, in milliseconds of `performance.now`. */
  leftAt = 0
  readonly #large = new Map<number, number>()
  #largeSum = 0

  constructor(peer: string, epoch: string) {
    this.peer = peer
    this.epoch = epoch
  }

  get isGone(): boolean {
    return this.connections === 0
  }

  /** The number in an id, which is `<epoch>.<n>`; `undefined`: it is another id. */
  numberOf(id: Id): number | undefined {
    if (typeof id !== 'string' || !id.startsWith(this.epoch) || id[this.epoch.length] !== '.') return undefined
    const digits = id.slice(this.epoch.length + 1)
    return /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : undefined
  }

  follow(n: number, outcome: PromiseLike<Outcome>): void {
    const followed = Promise.resolve(outcome)
    this.underWay.set(n, followed)
    const forget = () => void this.underWay.delete(n)
    followed.then(forget, forget)
  }

  /** Whether an answer of this size may be kept in this slot, in place of what was there. */
  mayKeep(slot: number, size: number): boolean {
    const before = this.#large.get(slot)
    if (before !== undefined) {
      this.#large.delete(slot)
      this.#largeSum -= before
    }
    if (size <= SMALL) return true
    if (this.#largeSum + size > MAX_LARGE) return false
    this.#large.set(slot, size)
    this.#largeSum += size
    return true
  }
}
