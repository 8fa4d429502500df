import type { Args } from '../../protocols/clever-show/message.ts'

/** The server's clock, as far as this client knows it. */
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

/** Sends a request to the server; settles with the value of the response. */
export type Asking = (name: string, args: Args) => Promise<unknown>

/** Something to do at an instant. */
export interface Job {
  /** Seconds since 1970 on the server's clock. */
  readonly at: number
  /** Bytes. */
  readonly size: number
  /** @param why - the reason when it is not done. */
  run(why?: unknown): void
}

/** Seconds since 1970 of this machine, without the steps that its clock may make. */
export function here(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}
