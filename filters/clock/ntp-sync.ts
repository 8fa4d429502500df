import type { Host } from 'filtered-websocket'
import { type Endpoint, formatEndpoint } from 'filtered-websocket/kit'
import type { Clock } from './clock.ts'
import { askNtp } from './ntp.ts'

/** Milliseconds. Public servers ask for at least a minute between requests (RFC 4330, section 10). */
const INTERVAL = 64_000

/** Corrects a clock by an NTP server every 64 seconds. */
export class NtpSync {
  readonly #server: Endpoint
  readonly #clock: Clock
  readonly #log: Host['log']
  readonly #end = new AbortController()
  /** Whether the last request was answered. */
  #isAnswered: boolean | undefined

  constructor(server: Endpoint, clock: Clock, { log, every }: Pick<Host, 'log' | 'every'>) {
    this.#server = server
    this.#clock = clock
    this.#log = log
    every(INTERVAL, () => this.ask())
  }

  /** Returns at once; the clock keeps its correction until there is an answer. */
  ask(): void {
    const { signal } = this.#end
    askNtp(this.#server, () => this.#clock.system, signal).then(
      ({ offset, error }) => {
        this.#clock.correct(offset)
        this.#report(true, { offset, error })
      },
      error => {
        if (!signal.aborted) this.#report(false, { err: error })
      },
    )
  }

  close(): void {
    this.#end.abort()
  }

  /** Logs changes only: a server may be unreachable for hours. */
  #report(isAnswered: boolean, fields: object): void {
    const isSame = isAnswered === this.#isAnswered
    this.#isAnswered = isAnswered
    const server = `NTP server ${formatEndpoint(this.#server)}`
    if (isSame) this.#log.debug(fields, `${server} was asked again`)
    else if (isAnswered) this.#log.info(fields, `the clock is corrected by ${server}`)
    else this.#log.warn(fields, `${server} gave no valid answer; the clock keeps its correction`)
  }
}
