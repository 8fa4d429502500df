import type { Outcome } from '../rpc/outcome.ts'
import type { Id } from '../wire/message.ts'

/** A note of a run. */
export interface Noted {
  readonly slot: number
  readonly n: number
}

/** Bytes of an answer up to which it is kept whatever else is: a slot has room for that many. */
const SMALL = 1024
/** Of the answers beyond that, together. */
const MAX_LARGE = 4 * 1024 * 1024
/** Bytes that a note takes beside its text, in a storage in this process and here. */
const OVERHEAD = 512

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
  /** What this node has noted of it, by slot, the oldest first. */
  readonly #notes = new Map<number, { readonly n: number; readonly size: number }>()
  #size = 0
  #largeSize = 0

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

  /** Notes of it. */
  get noted(): number {
    return this.#notes.size
  }

  /** Bytes of these. */
  get bytes(): number {
    return this.#size + this.#notes.size * OVERHEAD
  }

  /** Whether an answer of this size may be kept. */
  mayKeep(size: number): boolean {
    return size <= SMALL || this.#largeSize + size <= MAX_LARGE
  }

  hold(slot: number, n: number, size: number): void {
    this.#let(slot)
    this.#notes.set(slot, { n, size })
    this.#add(size)
  }

  /** The oldest so many notes, but for what is worked on, which count no more. */
  letGo(count: number): readonly Noted[] {
    const found: Noted[] = []
    for (const [slot, { n }] of this.#notes) {
      if (found.length >= count) break
      if (!this.underWay.has(n)) found.push({ slot, n })
    }
    for (const { slot } of found) this.#let(slot)
    return found
  }

  #let(slot: number): void {
    const before = this.#notes.get(slot)
    if (before === undefined) return
    this.#notes.delete(slot)
    this.#add(-before.size)
  }

  #add(size: number): void {
    this.#size += size
    if (Math.abs(size) > SMALL) this.#largeSize += size
  }
}
