import type { Host, OptionSpecs } from 'filtered-websocket'
import { parseEndpoint } from 'filtered-websocket/kit'
import type { Measured } from '../protocols/ntp/measurement.ts'
import { Clock } from './clock/clock.ts'
import { askNtp, NTP_PORT } from './clock/ntp.ts'
import { NtpSync } from './clock/ntp-sync.ts'
import { measureOffset } from './clock/offset.ts'

export type { Measured } from '../protocols/ntp/measurement.ts'

declare module 'filtered-websocket' {
  interface FilterApis {
    clock: ClockApi
  }
}

/** The API of `host.use('clock')`. All times are in seconds since 1970. */
export interface ClockApi {
  /** The time of the system, corrected by `--messaging-ntp`. */
  now(): number
  /**
   * Measures by how many seconds another clock is ahead of `now()`: the median of eight samples.
   *
   * @param ask - asks the other side, and resolves with the times of receipt and of answer by its clock.
   * @returns `undefined` when each sample is impossible, such as an answer that is older than its request.
   * @throws (rejects) what `ask` throws.
   */
  measureOffset(ask: () => Promise<readonly [number, number]>): Promise<Measured | undefined>
  /**
   * Asks an NTP server for the time (RFC 4330).
   *
   * @param server - `host` or `host:port`. Default: `--messaging-ntp`.
   * @throws (rejects) Error: no server, or no valid answer within 2 seconds.
   */
  ntpTime(server?: string): Promise<number>
}

export const describe = 'Share one clock between filters, corrected by NTP'

export const options = {
  'messaging-ntp': {
    type: 'string',
    describe: 'NTP server, host or host:port, that corrects the clock of the server. Default: the time of the system',
  },
} as const satisfies OptionSpecs

/** One clock for all filters of a server: the time of the system, finer than a millisecond, corrected by NTP. */
export const setup = (host: Host<typeof options>) => {
  const clock = new Clock()
  const name = host.options['messaging-ntp']
  const ntp = name === undefined ? undefined : parseEndpoint('--messaging-ntp', name, NTP_PORT)
  const sync = ntp && new NtpSync(ntp, clock, host)

  const api: ClockApi = {
    now: () => clock.now,
    measureOffset: ask => measureOffset(clock, ask),
    async ntpTime(name) {
      const server = name === undefined ? ntp : parseEndpoint('the server of ntpTime()', name, NTP_PORT)
      if (server === undefined) throw new TypeError('ntpTime() needs a server, or --messaging-ntp')
      const { offset } = await askNtp(server, () => clock.system)
      return clock.system + offset
    },
  }
  return { start: () => sync?.ask(), stop: () => sync?.close(), api }
}
