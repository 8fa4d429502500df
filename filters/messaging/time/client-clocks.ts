import type { Client } from 'filtered-websocket'
import { CallFailed, type CallOptions } from '../rpc/pending.ts'
import { shown } from '../wire/malformed.ts'
import type { Clock } from './clock.ts'
import { type Measured, measured } from './measured.ts'

/** Questions for one answer. */
const SAMPLES = 8
/** Milliseconds for each. */
const TIMEOUT = 2000
/** Milliseconds in which a client tells whether it knows `fws.clock`; the original answers nothing that it does not know. */
const PROBE = 1000

type Ask = (name: string, options: CallOptions) => Promise<unknown>

/** Finds out how far the clocks of clients are ahead. */
export class ClientClocks {
  readonly #clock: Clock
  /** What to ask each. */
  readonly #names = new WeakMap<Client, 'fws.clock' | 'time'>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * The median of eight questions, one after the other: one that was held up does not count.
   *
   * @throws (rejects) CallFailed, with code `invalid` for an answer that is no time.
   */
  async measure(client: Client, ask: Ask): Promise<Measured> {
    const name = this.#names.get(client) ?? (await this.#learn(client, ask))
    const samples: Measured[] = []
    for (let i = 0; i < SAMPLES; i++) samples.push(...(await this.#sample(() => ask(name, { timeout: TIMEOUT }))))
    samples.sort((a, b) => a.offset - b.offset)
    const median = samples[Math.floor(samples.length / 2)]?.offset
    if (median === undefined) throw new CallFailed('invalid', `client ${client.id} tells impossible times`)
    // The truth is within the error of each: how far from that the median may be.
    const error = Math.min(...samples.map(sample => Math.abs(sample.offset - median) + sample.error))
    return { offset: median - this.#clock.correction, error }
  }

  async #learn(client: Client, ask: Ask): Promise<'fws.clock' | 'time'> {
    const name = await ask('fws.clock', { timeout: PROBE }).then(
      () => 'fws.clock' as const,
      error => {
        if (['unknown', 'timeout'].includes((error as CallFailed).code)) return 'time' as const
        throw error
      },
    )
    this.#names.set(client, name)
    return name
  }

  /** One, or none: coarse clocks tell what cannot be. */
  async #sample(ask: () => Promise<unknown>): Promise<readonly Measured[]> {
    const sent = this.#clock.system
    const answer = await ask()
    const received = this.#clock.system
    const sample = measured([sent, received], instantsIn(answer))
    return sample === undefined ? [] : [sample]
  }
}

/** When the client was asked, and when it answered. One who tells one instant has not waited between the two. */
function instantsIn(answer: unknown): readonly [number, number] {
  const [from, to] = Array.isArray(answer) ? answer : [answer, answer]
  if (Number.isFinite(from) && Number.isFinite(to)) return [from, to]
  throw new CallFailed('invalid', `a clock tells seconds since 1970, received ${shown(answer)}`)
}
