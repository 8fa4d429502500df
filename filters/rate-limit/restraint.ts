import type { Client, Drop } from 'filtered-websocket'
import type { Rates } from './meter.ts'

/** Milliseconds within the limits after which a warning is forgotten. */
const FORGIVEN_AFTER = 10_000

/** Times in milliseconds, 0: never. */
interface Offence {
  overAt: number
  warnedAt: number
}

/** What happens to messages past a limit: dropped, the client warned first, and closed once it has gone on past the grace time. */
export class Restraint {
  readonly #reason: string
  readonly #warning: string
  readonly #graceMs: number
  readonly #offences = new WeakMap<Client, Offence>()

  /**
   * @param reason - under which drops are counted.
   * @param whose - the messages that are limited, for the warning.
   */
  constructor(reason: string, whose: string, { messages, bytes }: Rates, graceMs: number) {
    const rates = [messages && `${messages} messages`, bytes && `${bytes} bytes`].filter(Boolean)
    this.#reason = reason
    this.#warning = `Warning: more than ${rates.join(' or ')} a second${whose}; slow down or be closed`
    this.#graceMs = graceMs
  }

  apply(client: Client, now: number): Drop {
    const offence = this.#offences.get(client) ?? { overAt: 0, warnedAt: 0 }
    this.#offences.set(client, offence)
    if (now - offence.overAt > FORGIVEN_AFTER) offence.warnedAt = 0
    offence.overAt = now
    if (offence.warnedAt === 0) {
      offence.warnedAt = now
      client.send(this.#warning, 'notice')
    } else if (now - offence.warnedAt > this.#graceMs) {
      client.disconnect(1008, 'rate limit')
    }
    return client.drop(this.#reason)
  }
}
