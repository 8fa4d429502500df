import type { Values } from '../contract/storage.ts'
import { answerInTime } from './answer-in-time.ts'

/**
 * The leases of nodes in the storage: a node that does not renew its lease in time counts as dead.
 *
 * @example
 * const leases = new Leases(storage.values, 'mine:node', randomUUID(), 10_000)
 * await leases.renew()
 * host.every(3333, () => leases.renew())
 */
export class Leases {
  readonly #values: Values
  readonly #prefix: string
  readonly #node: string
  readonly #leaseMs: number
  /** Renewals so far, and those that the storage has confirmed: their number is the value. */
  #renewals = 0
  #confirmed = 0

  /**
   * @param prefix - of the keys.
   * @param node - unique name of this node.
   */
  constructor(values: Values, prefix: string, node: string, leaseMs: number) {
    this.#values = values
    this.#prefix = prefix
    this.#node = node
    this.#leaseMs = leaseMs
  }

  /**
   * Renews the lease of this node; call it three times per lease.
   *
   * @returns whether other nodes can have seen it without a break: the lease had not ended, and the storage has not lost a renewal.
   * @throws (rejects) Error: the storage does not answer.
   */
  async renew(): Promise<boolean> {
    const key = this.#keyOf(this.#node)
    const found = await answerInTime(this.#values.get(key))
    const isUnbroken = this.#confirmed === 0 || Number(found ?? 0) >= this.#confirmed
    const renewal = ++this.#renewals
    await answerInTime(this.#values.set(key, String(renewal), { ttlMs: this.#leaseMs }))
    this.#confirmed = renewal
    return isUnbroken
  }

  /** @throws (rejects) Error: the storage does not answer. */
  async isAlive(node: string): Promise<boolean> {
    return node === this.#node || (await answerInTime(this.#values.get(this.#keyOf(node)))) !== undefined
  }

  /** Ends the lease of this node. @throws (rejects) Error: the storage does not answer. */
  async end(): Promise<void> {
    await answerInTime(this.#values.delete(this.#keyOf(this.#node)))
  }

  #keyOf(node: string): string {
    return `${this.#prefix}:${node}`
  }
}
