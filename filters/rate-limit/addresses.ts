import { BoundedMap } from 'filtered-websocket/kit'
import { Bucket, MAX_BUCKETS } from './bucket.ts'
import { networkOf } from './network.ts'

export interface AddressLimits {
  /** A second, and at once. */
  readonly connects: number
  /** At a time. */
  readonly clients: number
}

/** Why an address has to wait, and how many seconds it should. */
export interface Wait {
  readonly why: string
  readonly seconds: number
}

/** Seconds after which somebody of a full address may have gone. */
const FULL_WAIT = 5

/** Connections by address, on this node. */
export class Addresses {
  readonly #limits: AddressLimits
  readonly #connects = new BoundedMap<string, Bucket>(MAX_BUCKETS)
  /** Only addresses that have clients, so `--max-clients` bounds it. */
  readonly #clients = new Map<string, number>()

  constructor(limits: AddressLimits) {
    this.#limits = limits
  }

  /** Networks that have clients. */
  get occupied(): number {
    return this.#clients.size
  }

  /**
   * One more connection of this address, or why not.
   *
   * @param gone - aborted when it has ended, also when it was never opened.
   */
  enter(address: string, gone: AbortSignal, now: number): Wait | undefined {
    const network = networkOf(address)
    const { connects, clients } = this.#limits
    const bucket = this.#connects.use(network, () => new Bucket(connects, now))
    if (!bucket.has(1, now)) {
      return { why: 'too many connections a second from your address', seconds: bucket.secondsUntil(1) }
    }
    bucket.take(1)
    const here = this.#clients.get(network) ?? 0
    if (here >= clients) return { why: 'too many clients at your address', seconds: FULL_WAIT }
    // An event that is over would never be heard.
    if (gone.aborted) return undefined
    this.#clients.set(network, here + 1)
    gone.addEventListener('abort', () => this.#leave(network), { once: true })
    return undefined
  }

  sweep(now: number): void {
    this.#connects.deleteWhere(bucket => bucket.isFull(now))
  }

  #leave(network: string): void {
    const here = this.#clients.get(network)! - 1
    if (here === 0) this.#clients.delete(network)
    else this.#clients.set(network, here)
  }
}
