import { randomUUID } from 'node:crypto'
import type { Sets, Values } from '../contract/storage.ts'
import { answerInTime } from './answer-in-time.ts'
import { BoundedMap } from './bounded-map.ts'
import { Leases } from './leases.ts'

/** Ids of dead nodes, and earlier ids of this one, that are kept. */
const MAX_DEAD = 1000

export interface NodeListener {
  /** This node has a new id: others may have taken over the work of the old one. */
  onRenamed?(): void
  /** Another node is dead. */
  onDied?(): void
}

export interface NodeRegistryOptions extends NodeListener {
  readonly values: Values
  readonly sets: Sets
  /** Of the keys: `PREFIX:node:ID` is a lease, `PREFIX:nodes` the set of the nodes. */
  readonly prefix: string
  /** Milliseconds after which a node that has stopped without `stop` is dead: two leases. */
  readonly deadAfterMs: number
}

/**
 * The nodes that use a filter, each with a lease in the storage.
 *
 * A node is dead when its lease has been missing for another lease while the storage answered: after a failure of the storage all
 * leases may have ended. A node whose own lease has ended takes a new id.
 *
 * @example
 * const nodes = new NodeRegistry({ ...host.storage, prefix: 'mine', deadAfterMs: 20_000, onDied: () => takeOver() })
 * await nodes.start()
 * host.every(20_000 / 6, () => nodes.look())
 */
export class NodeRegistry {
  readonly #options: NodeRegistryOptions
  readonly #listeners: NodeListener[]
  readonly #leaseMs: number
  /** The set of all nodes. */
  readonly #nodes: string
  /** Earlier ids of this node. */
  readonly #earlier = new BoundedMap<string, true>(MAX_DEAD)
  readonly #dead = new BoundedMap<string, true>(MAX_DEAD)
  /** Other nodes, with the time at which the lease was first missing; `alive`: it existed at the last look. */
  readonly #others = new Map<string, 'unknown' | 'alive' | number>()
  #id: string = randomUUID()
  #leases: Leases
  /** Its lease had ended, and it has no new id yet. */
  #hasLapsed = false

  constructor(options: NodeRegistryOptions) {
    this.#options = options
    this.#listeners = [options]
    this.#leaseMs = options.deadAfterMs / 2
    this.#nodes = nodesKeyOf(options.prefix)
    this.#leases = this.#leasesOf(this.#id)
  }

  /** The id of this node; `onRenamed` is called when it changes. */
  get id(): string {
    return this.#id
  }

  /** Adds a listener. */
  listen(listener: NodeListener): void {
    this.#listeners.push(listener)
  }

  /** Registers this node. @throws (rejects) Error: the storage does not answer. */
  async start(): Promise<void> {
    await this.#leases.renew()
    await answerInTime(this.#options.sets.add(this.#nodes, this.#id))
  }

  /** Renews the lease, and checks those of other nodes; call it three times per lease. @throws (rejects) as `start` does. */
  async look(): Promise<void> {
    try {
      if (!(await this.#leases.renew())) this.#hasLapsed = true
      if (this.#hasLapsed) await this.#rename()
      for (const id of await answerInTime(this.#options.sets.get(this.#nodes))) this.#track(id)
      await this.#lookAtOthers()
    } catch (error) {
      for (const [id, state] of this.#others) if (state !== 'alive') this.#others.set(id, 'unknown')
      throw error
    }
  }

  /** Ends the lease, and leaves the set. @throws (rejects) as `start` does. */
  async stop(): Promise<void> {
    await answerInTime(this.#options.sets.remove(this.#nodes, this.#id))
    await this.#leases.end()
  }

  /** Whether a node was alive at the last look. From now on each look includes it. */
  wasAlive(id: string): boolean {
    this.#track(id)
    return this.isOwn(id) || this.#others.get(id) === 'alive'
  }

  /** Whether a node was seen to die. From now on each look includes it. */
  isDead(id: string): boolean {
    this.#track(id)
    return this.#dead.has(id)
  }

  /** Whether it is an id of this node, now or earlier. */
  isOwn(id: string): boolean {
    return id === this.#id || this.#earlier.has(id)
  }

  #track(id: string): void {
    if (!this.isOwn(id) && !this.#dead.has(id) && !this.#others.has(id)) this.#others.set(id, 'unknown')
  }

  /** Changes to a new id, after its lease is stored. */
  async #rename(): Promise<void> {
    const before = this.#id
    const id = randomUUID()
    const leases = this.#leasesOf(id)
    await leases.renew()
    await answerInTime(this.#options.sets.add(this.#nodes, id))
    await answerInTime(this.#options.sets.remove(this.#nodes, before))
    this.#earlier.set(before, true)
    this.#id = id
    this.#leases = leases
    this.#hasLapsed = false
    for (const listener of this.#listeners) listener.onRenamed?.()
  }

  async #lookAtOthers(): Promise<void> {
    const now = performance.now()
    let hasDied = false
    const looks = [...this.#others].map(async ([id, state]) => {
      if (await this.#leases.isAlive(id)) {
        this.#others.set(id, 'alive')
        return
      }
      const since = typeof state === 'number' ? state : now
      this.#others.set(id, since)
      if (now - since < this.#leaseMs) return
      this.#others.delete(id)
      this.#dead.set(id, true)
      hasDied = true
    })
    await Promise.all(looks)
    if (hasDied) for (const listener of this.#listeners) listener.onDied?.()
  }

  #leasesOf(id: string): Leases {
    return new Leases(this.#options.values, `${this.#options.prefix}:node`, id, this.#leaseMs)
  }
}

/** The key of the set of the nodes with a prefix. */
export function nodesKeyOf(prefix: string): string {
  return `${prefix}:nodes`
}
