import type { AcceptedConnection, Client } from 'filtered-websocket'
import { BoundedMap } from 'filtered-websocket/kit'
import { Bucket, MAX_BUCKETS } from './bucket.ts'
import type { Wait } from './meter.ts'
import { networkOf } from './network.ts'
import { Occupancy } from './occupancy.ts'

export interface AddressLimits {
  /** Connections per second, and size of a burst. */
  readonly connects: number
  /** Concurrent clients. */
  readonly clients: number
}

/** Connections of a network in addition to its clients, for handshakes and plain requests. */
const SPARE_CONNECTIONS = 32
/** Seconds after which an address at its limit may retry. */
const FULL_WAIT = 5

/** Counts the connections of each network on this node. */
export class Addresses {
  readonly #limits: AddressLimits
  readonly #connects = new BoundedMap<string, Bucket>(MAX_BUCKETS)
  /** Bounded by `--max-clients`, as is `#connections`. */
  readonly #clients: Occupancy
  readonly #connections: Occupancy

  constructor(limits: AddressLimits) {
    this.#limits = limits
    this.#clients = new Occupancy(limits.clients)
    this.#connections = new Occupancy(limits.clients + SPARE_CONNECTIONS)
  }

  /** Networks with clients or connections. */
  get occupied(): number {
    return Math.max(this.#clients.networks, this.#connections.networks)
  }

  /** Counts a connection until it closes, before it has a handshake; returns false if its network has too many. */
  accept(connection: AcceptedConnection): boolean {
    const network = networkOf(connection.remote)
    if (!this.#connections.hasRoom(network)) return false
    this.#connections.add(network)
    connection.onClose(() => this.#connections.remove(network))
    return true
  }

  /**
   * Counts a handshake until its client has gone, or returns a refusal.
   */
  enter(client: Pick<Client, 'remote' | 'onGone'>, now: number): Wait | undefined {
    const network = networkOf(client.remote)
    const { connects } = this.#limits
    const bucket = this.#connects.use(network, () => new Bucket(connects, now))
    if (!bucket.has(1, now)) {
      return { reason: 'too many connections a second from your address', seconds: bucket.secondsUntil(1) }
    }
    bucket.consume(1)
    if (!this.#clients.hasRoom(network)) return { reason: 'too many clients at your address', seconds: FULL_WAIT }
    this.#clients.add(network)
    client.onGone(() => this.#clients.remove(network))
    return undefined
  }

  sweep(now: number): Promise<void> | undefined {
    return this.#connects.deleteWhere(bucket => bucket.isFull(now))
  }
}
