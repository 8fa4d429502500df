import type { Args } from './frame.ts'
import { loadTiming } from './load-timing.ts'

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

/** Asks the server, and settles with the value of its answer. */
export type Asking = (name: string, args: Args) => Promise<unknown>

export function clockOf(ask: Asking): Clock {
  const clock = {
    offset: 0,
    error: Infinity,
    now: () => here() + clock.offset,
    async sync() {
      Object.assign(clock, await (await loadTiming()).measure(ask))
    },
  }
  return clock
}

/** Seconds since 1970 of this machine, without the steps that its clock may make. */
export function here(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}
