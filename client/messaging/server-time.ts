import type { Args } from '../../protocols/clever-show/message.ts'

/** The server's clock, as measured by this client. */
export interface Clock {
  /** Seconds that the server's clock is ahead of the local clock. 0 before `sync`. */
  readonly offset: number
  /** Upper bound of the error of `offset` in seconds, however asymmetric the delays are. Infinite before `sync`. */
  readonly error: number
  /** Seconds since 1970 on the server's clock. */
  now(): number
  /** Measures the clock with eight requests, and again on each later connection. @throws (rejects) MessagingError */
  sync(): Promise<void>
}

/** Sends a request to the server. Settles with the value of the response. */
export type Call = (name: string, args: Args) => Promise<unknown>

/** A task with a start time. */
export interface Job {
  /** Seconds since 1970 on the server's clock. */
  readonly at: number
  /** Bytes of its message. */
  readonly size: number
  /** @param error - the reason why the job must not run. */
  run(error?: unknown): void
}

/** Seconds since 1970 on a local clock that is never adjusted. */
export function localTime(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}
