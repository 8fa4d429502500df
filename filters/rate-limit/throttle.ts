import type { Client, Drop } from 'filtered-websocket'
import type { Rates } from './meter.ts'

/** Milliseconds within the limits after which a client is warned again before a close. */
const RESET_AFTER = 10_000

/** Times in milliseconds; 0 is never. */
interface Excess {
  overAt: number
  warnedAt: number
}

/** How a client over a limit is treated. */
export interface ThrottlePolicy {
  /** Milliseconds between the warning and the close. */
  readonly graceMs: number
  /** Form of the warning. */
  readonly warning: 'text' | 'json' | 'none'
}

/** The policy for messages over a limit: drops them, warns the client, closes it after the grace period. */
export class Throttle {
  readonly #reason: string
  readonly #warning: string | undefined
  readonly #graceMs: number
  readonly #excesses = new WeakMap<Client, Excess>()

  /**
   * @param reason - label under which drops are counted, and `error` of the warning as JSON.
   * @param scope - end of the warning that names the limited messages.
   */
  constructor(reason: string, scope: string, { messages, bytes }: Rates, { graceMs, warning }: ThrottlePolicy) {
    const rates = [messages && `${messages} messages`, bytes && `${bytes} bytes`].filter(Boolean)
    this.#reason = reason
    const message = `more than ${rates.join(' or ')} a second${scope}; slow down or be closed`
    if (warning === 'text') this.#warning = `Warning: ${message}`
    if (warning === 'json') this.#warning = JSON.stringify({ error: reason, message })
    this.#graceMs = graceMs
  }

  apply(client: Client, now: number): Drop {
    const excess = this.#excesses.get(client) ?? { overAt: 0, warnedAt: 0 }
    this.#excesses.set(client, excess)
    if (now - excess.overAt > RESET_AFTER) excess.warnedAt = 0
    excess.overAt = now
    if (excess.warnedAt === 0) {
      excess.warnedAt = now
      if (this.#warning !== undefined) client.send(this.#warning, 'notice')
    } else if (now - excess.warnedAt > this.#graceMs) {
      client.disconnect(1008, 'rate limit')
    }
    return client.drop(this.#reason)
  }
}
