import type { Host, Values } from 'filtered-websocket'
import { BoundedMap, optionError } from 'filtered-websocket/kit'
import { MAX_BUCKETS } from './bucket.ts'
import { Meter, type Rates } from './meter.ts'

const MINUTE = 60_000

export interface IdentityLimits extends Rates {
  /** Connections per minute on all nodes; `undefined` disables the limit. */
  readonly connects: number | undefined
}

/** Outcome of counting a connection; `unavailable` if the storage fails. */
export type Counted = 'ok' | 'too many' | 'unavailable'

/** Limits shared by all connections of an identity: messages on this node, connects on all nodes. */
export class Identities {
  readonly #limits: IdentityLimits
  readonly #log: Host['log']
  readonly #values: Values | undefined
  readonly #meters = new BoundedMap<string, Meter>(MAX_BUCKETS)

  /** @throws Error `ERR_OPTION` if connects are limited and the storage has no values. */
  constructor(limits: IdentityLimits, { storage, log }: Pick<Host, 'storage' | 'log'>) {
    this.#limits = limits
    this.#log = log
    if (limits.connects !== undefined) this.#values = valuesOf(storage)
  }

  /** Whether a message of this size in bytes is within the limits; consumes it if so. */
  consume(identity: string, size: number, now: number): boolean {
    const { messages, bytes } = this.#limits
    if (messages === undefined && bytes === undefined) return true
    return this.#meters.use(identity, () => new Meter(this.#limits, now)).consume(size, now)
  }

  get countsConnects(): boolean {
    return this.#values !== undefined
  }

  /** Counts a connection of this identity. */
  async connect(identity: string): Promise<Counted> {
    try {
      const connects = await this.#values!.increment(`rate-limit:connects:${identity}`, 1, MINUTE)
      return connects > this.#limits.connects! ? 'too many' : 'ok'
    } catch (error) {
      this.#log.debug({ err: error }, 'the connections of an identity cannot be counted')
      return 'unavailable'
    }
  }

  sweep(now: number): Promise<void> | undefined {
    return this.#meters.deleteWhere(meter => meter.isFull(now))
  }
}

function valuesOf(storage: Host['storage']): Values {
  try {
    return storage.values
  } catch (cause) {
    throw optionError('--rate-limit-identity-connects needs a storage with "values", such as memory', cause)
  }
}
