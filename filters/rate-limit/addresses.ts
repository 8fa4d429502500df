import { BoundedMap } from 'filtered-websocket/kit'
import { Bucket, MAX_BUCKETS } from './bucket.ts'
import { networkOf } from './network.ts'

export interface AddressLimits {
  /** Connections per second, and size of a burst. */
  readonly connects: number
  /** Concurrent clients. */
  readonly clients: number
}

/** A refusal, with the time to wait. */
export interface Wait {
  readonly reason: string
  readonly seconds: number
}

/** Seconds after which an address at its limit may retry. */
const FULL_WAIT = 5

/** Counts the connections of each network on this node. */
export class Addresses {
  readonly #limits: AddressLimits
  readonly #connects = new BoundedMap<string, Bucket>(MAX_BUCKETS)
  /** Clients by network, only networks with clients: bounded by `--max-clients`. */
  readonly #clients = new Map<string, number>()

  constructor(limits: AddressLimits) {
    this.#limits = limits
  }

  /** Networks with clients. */
  get occupied(): number {
    return this.#clients.size
  }

  /**
   * Counts a connection, or returns a refusal.
   *
   * @param closed - aborted when the connection ends, even if it never opened.
   */
  enter(address: string, closed: AbortSignal, now: number): Wait | undefined {
    const network = networkOf(address)
    const { connects, clients } = this.#limits
    const bucket = this.#connects.use(network, () => new Bucket(connects, now))
    if (!bucket.has(1, now)) {
      return { reason: 'too many connections a second from your address', seconds: bucket.secondsUntil(1) }
    }
    bucket.consume(1)
    const count = this.#clients.get(network) ?? 0
    if (count >= clients) return { reason: 'too many clients at your address', seconds: FULL_WAIT }
    // An aborted signal fires no event, so the count would never decrease.
    if (closed.aborted) return undefined
    this.#clients.set(network, count + 1)
    closed.addEventListener('abort', () => this.#leave(network), { once: true })
    return undefined
  }

  sweep(now: number): Promise<void> | undefined {
    return this.#connects.deleteWhere(bucket => bucket.isFull(now))
  }

  #leave(network: string): void {
    const count = this.#clients.get(network)! - 1
    if (count === 0) this.#clients.delete(network)
    else this.#clients.set(network, count)
  }
}
