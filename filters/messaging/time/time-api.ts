import type { Audience, Client, Server } from 'filtered-websocket'
import { broadcast } from '../rpc/broadcast.ts'
import type { CallOptions } from '../rpc/pending.ts'
import { type Endpoint, endpointOf } from '../transport/endpoint.ts'
import { shown } from '../wire/malformed.ts'
import type { Args, Kwargs } from '../wire/message.ts'
import { ClientClocks } from './client-clocks.ts'
import type { Clock } from './clock.ts'
import type { Measured } from './measured.ts'
import { askNtp, NTP_PORT } from './ntp.ts'

/** The part of the api that is about time. All instants are in seconds since 1970. */
export interface TimeApi {
  /** By the system, or by `--messaging-ntp`. */
  now(): number
  /**
   * Has clients of every node do something at one instant by `now()`. The original expects it as a text in `kwargs.time`,
   * where it stands unless you say something else there.
   *
   * @throws TypeError when the instant is no number.
   */
  schedule(
    server: Server,
    at: number,
    action: string,
    args?: Args,
    kwargs?: Kwargs,
    audience?: Omit<Audience, 'format'>,
  ): void
  /**
   * How many seconds a client's clock is ahead of `now()`, and how wrong that is at most.
   *
   * @throws (rejects) CallFailed
   */
  clockOf(client: Client): Promise<Measured>
  /**
   * What an NTP server says: `get_ntp_time` of the original.
   *
   * @param host - `host` or `host:port`; default: `--messaging-ntp`.
   * @throws (rejects) Error: none, or no good answer within 2 seconds.
   */
  ntpTime(host?: string): Promise<number>
}

/** By which a server goes. */
export interface Time {
  readonly clock: Clock
  /** Who corrects it. */
  readonly ntp: Endpoint | undefined
}

type Call = (client: Client, name: string, args: Args, kwargs: Kwargs, options: CallOptions) => Promise<unknown>

export function timeApiOf({ clock, ntp }: Time, call: Call): TimeApi {
  const clocks = new ClientClocks(clock)

  return {
    now: () => clock.now,
    schedule(server, at, name, args = [], kwargs = {}, audience) {
      if (!Number.isFinite(at)) throw new TypeError(`the instant of an action is in seconds, received ${shown(at)}`)
      broadcast(server, { name, args, kwargs: { time: String(at), ...kwargs }, at }, audience)
    },
    clockOf: client => clocks.measure(client, (name, options) => call(client, name, [clock.now], {}, options)),
    async ntpTime(host) {
      const server = host === undefined ? ntp : endpointOf('the host of ntpTime()', host, NTP_PORT)
      if (server === undefined) throw new TypeError('ntpTime() needs a host, or --messaging-ntp')
      const { offset } = await askNtp(server, () => clock.system)
      return clock.system + offset
    },
  }
}
