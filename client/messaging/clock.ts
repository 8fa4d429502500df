import { MessagingError } from './error.ts'
import type { Args } from './frame.ts'

const SAMPLES = 8
/** Seconds before the instant at which waiting ends and looking at the clock begins: timers come late, by about one ms. */
const EARLY = 0.001
/** Seconds that a timer holds; the clock may be set meanwhile. */
const LONGEST = 60

/** The server's clock, as it is known here. */
export interface Clock {
  /** Seconds that the server's clock is ahead of this one. */
  readonly offset: number
  /** Seconds that `offset` may be wrong, however uneven the ways there and back are. Infinite before `sync`. */
  readonly error: number
  /** Seconds since 1970 on the server's clock. */
  now(): number
  /** Asks for the time, eight times. Rejects with a `MessagingError`. */
  sync(): Promise<void>
}

export interface OwnClock extends Clock {
  /** Runs it at an instant of the server's clock, within about a millisecond; at once if that has passed. */
  when(at: number, run: () => void): Promise<void>
  /** Forgets all instants. */
  stop(): void
}

export function clockOf(ask: (name: string, args: Args) => Promise<unknown>): OwnClock {
  /** One for all that wait for it. */
  let syncing: Promise<void> | undefined
  const timers = new Map<() => void, ReturnType<typeof setTimeout>>()
  let isOver = false
  const clock = {
    offset: 0,
    error: Number.POSITIVE_INFINITY,

    now: () => here() + clock.offset,

    async sync() {
      const samples: { offset: number; delay: number }[] = []
      let name = 'fws.clock'
      while (samples.length < SAMPLES) {
        const t1 = here()
        try {
          const answer = await ask(name, [t1])
          const t4 = here()
          const [t2, t3] = Array.isArray(answer) ? answer : [answer, answer]
          samples.push({ offset: (t2 - t1 + t3 - t4) / 2, delay: t4 - t1 - (t3 - t2) })
        } catch (error) {
          // The original's request: when it was answered, without when it came.
          if (name === 'time' || (error as MessagingError).code !== 'unknown') throw error
          name = 'time'
        }
      }
      samples.sort((a, b) => a.offset - b.offset)
      const median = samples[SAMPLES / 2]!.offset
      // True is what lies within half of each delay around each offset: how far the median may be from that.
      const error = Math.min(...samples.map(({ offset, delay }) => Math.abs(offset - median) + delay / 2))
      if (!(error >= 0)) throw new MessagingError('failed', 'the server told no time')
      clock.offset = median
      clock.error = error
    },

    async when(at: number, run: () => void) {
      // Better by a clock that is not set than not at all.
      if (!Number.isFinite(clock.error)) {
        syncing ??= clock.sync().catch(() => {})
        await syncing
        syncing = undefined
      }
      const wait = () => {
        if (isOver) return
        const left = at - clock.now()
        if (left > EARLY) timers.set(run, setTimeout(wait, (Math.min(left, LONGEST) - EARLY) * 1000))
        else {
          timers.delete(run)
          while (clock.now() < at);
          run()
        }
      }
      wait()
    },

    stop() {
      isOver = true
      for (const timer of timers.values()) clearTimeout(timer)
    },
  }
  return clock
}

/** Seconds since 1970 of this machine, without the steps that its clock may make. */
export function here(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}
