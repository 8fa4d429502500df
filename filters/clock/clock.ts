/** Milliseconds: the resolution of Date.now(). */
const TICK = 1
/** Milliseconds: the precision of the first reading, and the time that it may take. */
const PRECISION = 0.01
const TIMEOUT = 20

/** The clock of the system, finer than Date.now(), and a correction. */
export class Clock {
  /** Milliseconds since 1970 at which `performance.now()` was 0. */
  #origin: number
  #correction = 0

  constructor() {
    // Each reading narrows the bounds, most when Date.now() has just changed.
    let [from, to] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    const end = performance.now() + TIMEOUT
    while (to - from > PRECISION && performance.now() < end) {
      const seen = originBounds()
      from = Math.max(from, seen.from)
      to = Math.min(to, seen.to)
    }
    this.#origin = from
  }

  /** Seconds since 1970 by the system, also after its clock was set. */
  get system(): number {
    const { from, to } = originBounds()
    this.#origin = Math.min(Math.max(this.#origin, from), to)
    return (this.#origin + performance.now()) / 1000
  }

  /** Seconds since 1970, corrected. */
  get now(): number {
    return this.system + this.#correction
  }

  /** Seconds by which the clock of the system is behind. */
  get correction(): number {
    return this.#correction
  }

  correct(seconds: number): void {
    this.#correction = seconds
  }
}

/** Bounds of the time at which `performance.now()` was 0, in milliseconds since 1970; true also when the process was paused between the readings. */
function originBounds(): { readonly from: number; readonly to: number } {
  const before = performance.now()
  const now = Date.now()
  return { from: now - performance.now(), to: now + TICK - before }
}
