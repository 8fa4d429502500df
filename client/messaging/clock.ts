import { MessagingError } from './error.ts'
import type { Args } from './frame.ts'

const SAMPLES = 8
/** Milliseconds before the instant at which waiting ends and looking at the clock begins: timers come late, by about one. */
const EARLY = 1
/** Milliseconds that a timer holds, rounded; the clock may be set meanwhile anyway. */
const LONGEST = 60_000

/** The server's clock as it is known here. */
export class Clock {
  readonly #ask: (name: string, args: Args) => Promise<unknown>
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #syncing: Promise<void> | undefined
  /** Seconds that the server's clock is ahead of this one. */
  offset = 0
  /** Seconds that `offset` may be wrong: half of a way there and back, however uneven it is. Infinite before `sync`. */
  error = Number.POSITIVE_INFINITY

  constructor(ask: (name: string, args: Args) => Promise<unknown>) {
    this.#ask = ask
  }

  /** Seconds since 1970 on the server's clock. */
  now(): number {
    return here() + this.offset
  }

  /** Asks for the time, eight times. Rejects with a `MessagingError`. One at a time. */
  sync(): Promise<void> {
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    return this.#syncing
  }

  /** Settles at an instant of the server's clock, within about a millisecond; at once if it has passed. */
  async until(at: number): Promise<void> {
    // Better by a clock that is not set than not at all.
    if (this.error === Number.POSITIVE_INFINITY) await this.sync().catch(() => {})
    for (;;) {
      const left = (at - this.now()) * 1000
      if (left <= EARLY) break
      await new Promise<void>(resolve => {
        const timer = setTimeout(
          () => {
            this.#timers.delete(timer)
            resolve()
          },
          Math.min(left - EARLY, LONGEST),
        )
        this.#timers.add(timer)
      })
    }
    while (this.now() < at);
  }

  /** Forgets all instants. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  async #sync(): Promise<void> {
    const samples: { offset: number; delay: number }[] = []
    let name = 'fws.clock'
    while (samples.length < SAMPLES) {
      const t1 = here()
      try {
        const answer = await this.#ask(name, name === 'time' ? [] : [t1])
        const t4 = here()
        const [t2, t3] = Array.isArray(answer) ? answer : [answer, answer]
        const [offset, delay] = [(t2 - t1 + t3 - t4) / 2, t4 - t1 - (t3 - t2)]
        if (!Number.isFinite(offset + delay)) throw new MessagingError('failed', 'the server told no time')
        samples.push({ offset, delay })
      } catch (error) {
        // The original's request: when it was answered, without when it came.
        if (name === 'time' || (error as MessagingError).code !== 'unknown') throw error
        name = 'time'
      }
    }
    samples.sort((a, b) => a.offset - b.offset)
    const median = (samples[SAMPLES / 2 - 1]!.offset + samples[SAMPLES / 2]!.offset) / 2
    // True is what lies within half of each delay around each offset: how far the median may be from all of that.
    this.offset = median
    this.error = Math.min(...samples.map(({ offset, delay }) => Math.abs(offset - median) + delay / 2))
  }
}

/** Seconds since 1970 of this machine, without the steps that its clock may make. */
export function here(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}
