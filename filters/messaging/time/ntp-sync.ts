import type { Host } from 'filtered-websocket'
import type { options } from '../options.ts'
import { type Endpoint, endpointOf, inBrackets } from '../transport/endpoint.ts'
import type { Clock } from './clock.ts'
import { askNtp, NTP_PORT } from './ntp.ts'

/** Milliseconds: servers in public do not like to be asked more often (RFC 4330, section 10). */
const INTERVAL = 64_000

/** Corrects a clock by an NTP server again and again. */
export class NtpSync {
  readonly server: Endpoint
  readonly #clock: Clock
  readonly #log: Host['log']
  readonly #end = new AbortController()
  /** How it was the last time. */
  #isRight: boolean | undefined

  private constructor(server: Endpoint, clock: Clock, { log, every }: Pick<Host, 'log' | 'every'>) {
    this.server = server
    this.#clock = clock
    this.#log = log
    every(INTERVAL, () => this.ask())
  }

  /**
   * What was asked for, if it was; to be called in the setup.
   *
   * @throws Error `ERR_OPTION`
   */
  static of(host: Host<typeof options>, clock: Clock): NtpSync | undefined {
    const text = host.options['messaging-ntp']
    return text === undefined ? undefined : new NtpSync(endpointOf('--messaging-ntp', text, NTP_PORT), clock, host)
  }

  /** Nobody waits for it: until there is an answer the clock is as it was. */
  ask(): void {
    const { signal } = this.#end
    askNtp(this.server, () => this.#clock.system, signal).then(
      ({ offset, error }) => {
        this.#clock.correct(offset)
        this.#tell(true, { offset, error })
      },
      error => {
        if (!signal.aborted) this.#tell(false, { err: error })
      },
    )
  }

  close(): void {
    this.#end.abort()
  }

  /** In the log when it changes. */
  #tell(isRight: boolean, fields: object): void {
    const has = isRight === this.#isRight
    this.#isRight = isRight
    const { host, port } = this.server
    const where = `NTP server ${inBrackets(host)}:${port}`
    if (has) this.#log.debug(fields, `${where} was asked again`)
    else if (isRight) this.#log.info(fields, `the time is that of ${where}`)
    else this.#log.warn(fields, `${where} does not tell the time; the clock goes on as it was`)
  }
}
