import type { Handlers } from '../rpc/handlers.ts'

/** Milliseconds: what Date.now() leaves out is less. */
const TICK = 1
/** Milliseconds: as exactly the clock is read in the beginning, if that can be done in so many. */
const EXACT = 0.01
const PATIENCE = 20

/** The server's clock: that of the system, finer than Date.now(), and corrected if somebody knows better. */
export class Clock {
  /** Milliseconds since 1970 when `performance` began to count. */
  #began: number
  #correction = 0

  constructor() {
    // Until Date.now() changes, once, while nothing holds up the process.
    let [from, to] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    const end = performance.now() + PATIENCE
    while (to - from > EXACT && performance.now() < end) {
      const seen = beginning()
      from = Math.max(from, seen.from)
      to = Math.min(to, seen.to)
    }
    this.#began = from
  }

  /** Seconds since 1970 by the system. It follows when somebody sets that. */
  get system(): number {
    const { from, to } = beginning()
    this.#began = Math.min(Math.max(this.#began, from), to)
    return (this.#began + performance.now()) / 1000
  }

  /** Seconds since 1970. */
  get now(): number {
    return this.system + this.#correction
  }

  /** Seconds that the system is behind. */
  get correction(): number {
    return this.#correction
  }

  correct(seconds: number): void {
    this.#correction = seconds
  }
}

/** When `performance` began to count, in milliseconds since 1970: between these two, however long this was held up. */
function beginning(): { readonly from: number; readonly to: number } {
  const before = performance.now()
  const now = Date.now()
  return { from: now - performance.now(), to: now + TICK - before }
}

/**
 * Tells clients the time: request `time`, as the original's clients do, and `fws.clock`, whose answer is when it came and
 * when it was answered.
 */
export function tellTime(handlers: Handlers, clock: Clock): void {
  handlers.own('time', () => clock.now)
  handlers.own('fws.clock', () => [clock.now, clock.now])
}
