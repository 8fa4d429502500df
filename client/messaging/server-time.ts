import type { Args } from '../../protocols/clever-show/message.ts'
import { type Measured, measure } from '../../protocols/ntp/measurement.ts'
import { MessagingError } from './error.ts'

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

/** Seconds since 1970 on a local clock that is never adjusted. */
export function localTime(): number {
  return (performance.timeOrigin + performance.now()) / 1000
}

/**
 * Offset of the server's clock and its error, in seconds.
 *
 * @param call - sends a request to the server; settles with the value of the response.
 */
export async function measureServer(call: (name: string, args: Args) => Promise<unknown>): Promise<Measured> {
  const found = await measure(
    localTime,
    // Null would count as 1970.
    async sent => [await call('fws.clock', [sent])].flat().map(time => time ?? NaN) as [number, number],
  )
  if (!found) throw new MessagingError('failed', 'the server sent no valid time')
  return found
}
