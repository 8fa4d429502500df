import type { Host, Values } from 'filtered-websocket'
import { optionError } from 'filtered-websocket/kit'
import type { Rates } from './meter.ts'

const MINUTE = 60_000

/** Rates of all messages and requests on this node. */
export interface IdentityLimits extends Rates {
  /** Connections per minute on all nodes; `undefined` disables the limit. */
  readonly connects: number | undefined
}

/** Outcome of counting a connection; `unavailable` if the storage fails. */
export type Counted = 'ok' | 'too many' | 'unavailable'

/** Counts the connections of each identity, on all nodes. */
export class Identities {
  readonly #limits: IdentityLimits
  readonly #log: Host['log']
  readonly #values: Values | undefined

  /** @throws Error `ERR_OPTION` if connects are limited and the storage has no values. */
  constructor(limits: IdentityLimits, { storage, log }: Pick<Host, 'storage' | 'log'>) {
    this.#limits = limits
    this.#log = log
    if (limits.connects !== undefined) this.#values = valuesOf(storage)
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
}

function valuesOf(storage: Host['storage']): Values {
  try {
    return storage.values
  } catch (cause) {
    throw optionError('--rate-limit-identity-connects needs a storage with "values", such as memory', cause)
  }
}
