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
    error: Infinity,

    now: () => here() + clock.offset,

    async sync() {
      const samples: (readonly [offset: number, half: number])[] = []
      while (samples.length < SAMPLES) {
        const t1 = here()
        // Null would count as 1970.
        const [t2, t3] = [await ask('fws.clock', [t1])].flat().map(time => time ?? NaN) as [number, number]
        const t4 = here()
        samples.push([(t2 - t1 + t3 - t4) / 2, (t4 - t1 - (t3 - t2)) / 2])
      }
      samples.sort(([a], [b]) => a - b)
      const [median] = samples[SAMPLES / 2]!
      // True is what lies within half of each delay around each offset: how far the median may be from that.
      const error = Math.min(...samples.map(([offset, half]) => Math.abs(offset - median) + half))
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
