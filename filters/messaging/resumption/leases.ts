import type { Values } from 'filtered-websocket'
import { within } from './within.ts'

/** Which nodes live, in storage: a node that does not say so again within its lease is taken for dead. */
export class Leases {
  readonly #values: Values
  readonly #node: string
  readonly #leaseMs: number

  /** @param node - names this one. */
  constructor(values: Values, node: string, leaseMs: number) {
    this.#values = values
    this.#node = node
    this.#leaseMs = leaseMs
  }

  /** Tells that this node lives; to be called three times a lease. @throws (rejects) Error when the storage does not answer */
  async renew(): Promise<void> {
    await within(this.#values.set(keyOf(this.#node), '', { ttlMs: this.#leaseMs }))
  }

  /** @throws (rejects) Error as above */
  async isAlive(node: string): Promise<boolean> {
    return node === this.#node || (await within(this.#values.get(keyOf(node)))) !== undefined
  }
}

function keyOf(node: string): string {
  return `messaging:node:${node}`
}
