import type { Audience, Client, Server } from 'filtered-websocket'
import type { ClockApi, Measured } from 'filtered-websocket/filters/clock'
import { CallFailed, type CallOptions } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Args, Kwargs } from '../wire/message.ts'
import type { Handlers } from './handlers.ts'
import { broadcast } from './topics.ts'

/** Milliseconds for one sample. */
const TIMEOUT = 2000
/** Milliseconds for the first request `fws.clock`: clever-show does not answer requests that it does not know. */
const PROBE_TIMEOUT = 1000

/** The part of the API about time. All times are in seconds since 1970. */
export interface TimeApi extends Pick<ClockApi, 'now' | 'ntpTime'> {
  /**
   * Broadcasts an action that clients of every node run at one time by `now()`. clever-show reads that time as a string in
   * `kwargs.time`, which is set unless you set it.
   *
   * @throws TypeError when the time is not a number.
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
   * Measures by how many seconds a client's clock is ahead of `now()`.
   *
   * @throws (rejects) CallFailed, with code `invalid` for an answer that is not a time.
   */
  clockOf(client: Client): Promise<Measured>
}

type Call = (client: Client, name: string, args: Args, kwargs: Kwargs, options: CallOptions) => Promise<unknown>

export function timeApiOf(clock: ClockApi, call: Call): TimeApi {
  /** The request that a client answers. */
  const requests = new WeakMap<Client, 'fws.clock' | 'time'>()
  const ask = (client: Client, name: string, timeout: number) => call(client, name, [clock.now()], {}, { timeout })

  async function requestOf(client: Client): Promise<'fws.clock' | 'time'> {
    const name = await ask(client, 'fws.clock', PROBE_TIMEOUT).then(
      () => 'fws.clock' as const,
      error => {
        if (['unknown', 'timeout'].includes((error as CallFailed).code)) return 'time' as const
        throw error
      },
    )
    requests.set(client, name)
    return name
  }

  return {
    now: () => clock.now(),
    ntpTime: server => clock.ntpTime(server),
    schedule(server, at, name, args = [], kwargs = {}, audience) {
      if (!Number.isFinite(at)) throw new TypeError(`the time of an action is in seconds, received ${shown(at)}`)
      broadcast(server, { name, args, kwargs: { time: String(at), ...kwargs }, at }, audience)
    },
    async clockOf(client) {
      const name = requests.get(client) ?? (await requestOf(client))
      const found = await clock.measureOffset(async () => timesIn(await ask(client, name, TIMEOUT)))
      if (found === undefined) throw new CallFailed('invalid', `client ${client.id} answers with impossible times`)
      return found
    },
  }
}

/** Answers the requests `time`, which clever-show clients send, and `fws.clock`: the times of receipt and of answer. */
export function answerTime(handlers: Handlers, clock: ClockApi): void {
  handlers.builtIn('time', () => clock.now())
  handlers.builtIn('fws.clock', () => [clock.now(), clock.now()])
}

/** The times of receipt and of answer; a single time is both. */
function timesIn(answer: unknown): readonly [number, number] {
  const [from, to] = Array.isArray(answer) ? answer : [answer, answer]
  if (Number.isFinite(from) && Number.isFinite(to)) return [from, to]
  throw new CallFailed('invalid', `a time is in seconds since 1970, received ${shown(answer)}`)
}
