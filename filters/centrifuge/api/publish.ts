import type { Drop, Payload, Position, Server, Values } from 'filtered-websocket'
import { answerInTime } from 'filtered-websocket/kit'
import { CommandError } from '../command-error.ts'
import { nameOf, notAvailable, type Params } from './params.ts'

/** Milliseconds for which a key is stored, as on kept topics. */
const KEY_MS = 600_000

/** Publishes for the operator, to kept topics and others. */
export class Publisher {
  readonly #values: Values

  constructor(values: Values) {
    this.#values = values
  }

  /** @returns the result as JSON. @throws (rejects) CommandError, or an error of the core. */
  async publish(server: Server, channel: string, content: Payload, params: Params): Promise<string> {
    const key = nameOf(params.idempotency_key, 'idempotency_key')
    const isKept = server.keeps(channel)
    if (params.skip_history === true && isKept)
      throw notAvailable('skip_history: all messages of this channel are kept')
    if (key === undefined || isKept) return resultOf(await server.publishTo(channel, content, { key }))
    return this.#once(`centrifuge:key:${JSON.stringify([channel, key])}`, () => server.publishTo(channel, content))
  }

  /** Stores the key itself, since the channel has no stream. Deletes it if the publication fails. */
  async #once(key: string, publish: () => ReturnType<Server['publishTo']>): Promise<string> {
    if (!(await answerInTime(this.#values.set(key, '', { ttlMs: KEY_MS, ifAbsent: true })))) return '{}'
    try {
      return resultOf(await publish())
    } catch (error) {
      await answerInTime(this.#values.delete(key))
      throw error
    }
  }
}

function resultOf(outcome: Position | Drop | undefined): string {
  if (typeof outcome === 'symbol') throw new CommandError({ code: 103, message: 'a filter has dropped the message' })
  return outcome === undefined ? '{}' : JSON.stringify({ offset: outcome.offset, epoch: outcome.epoch })
}
