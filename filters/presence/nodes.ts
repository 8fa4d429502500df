import { randomUUID } from 'node:crypto'
import type { Sets, Values } from 'filtered-websocket'
import { answerInTime, BoundedMap, Leases } from 'filtered-websocket/kit'

const PREFIX = 'presence:node'
/** The set of all nodes. */
const NODES = 'presence:nodes'
/** Ids of dead nodes, and earlier ids of this one, that are kept. */
const MAX_DEAD = 1000

export interface NodesHost {
  readonly values: Values
  readonly sets: Sets
  readonly leaseMs: number
  /** This node has a new id: others may have taken over the members of the old one. */
  onRenamed(): void
  /** Another node is dead. */
  onDied(): void
}

/**
 * The nodes with members, each with a lease. A node is dead when its lease has been missing for another lease while the storage
 * answered: after a failure of the storage all leases may have ended. A node whose own lease has ended takes a new id.
 */
export class Nodes {
  readonly #host: NodesHost
  /** Earlier ids of this node. */
  readonly #earlier = new BoundedMap<string, true>(MAX_DEAD)
  readonly #dead = new BoundedMap<string, true>(MAX_DEAD)
  /** Other nodes, with the time at which the lease was first missing; `alive`: it existed at the last look. */
  readonly #others = new Map<string, 'unknown' | 'alive' | number>()
  #id: string = randomUUID()
  #leases: Leases
  /** Its lease had ended, and it has no new id yet. */
  #hasLapsed = false

  constructor(host: NodesHost) {
    this.#host = host
    this.#leases = this.#leasesOf(this.#id)
  }

  get id(): string {
    return this.#id
  }

  async start(): Promise<void> {
    await this.#leases.renew()
    await answerInTime(this.#host.sets.add(NODES, this.#id))
  }

  /** Renews the lease, and checks those of other nodes; call it three times per lease. */
  async look(): Promise<void> {
    try {
      if (!(await this.#leases.renew())) this.#hasLapsed = true
      if (this.#hasLapsed) await this.#rename()
      for (const id of await answerInTime(this.#host.sets.get(NODES))) this.#track(id)
      await this.#lookAtOthers()
    } catch (error) {
      for (const [id, state] of this.#others) if (state !== 'alive') this.#others.set(id, 'unknown')
      throw error
    }
  }

  async stop(): Promise<void> {
    await answerInTime(this.#host.sets.remove(NODES, this.#id))
    await this.#leases.end()
  }

  /** Whether a node was alive at the last look. From now on each look includes it. */
  wasAlive(id: string): boolean {
    this.#track(id)
    return this.isOwn(id) || this.#others.get(id) === 'alive'
  }

  isDead(id: string): boolean {
    return this.#dead.has(id)
  }

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
    await answerInTime(this.#host.sets.add(NODES, id))
    await answerInTime(this.#host.sets.remove(NODES, before))
    this.#earlier.set(before, true)
    this.#id = id
    this.#leases = leases
    this.#hasLapsed = false
    this.#host.onRenamed()
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
      if (now - since < this.#host.leaseMs) return
      this.#others.delete(id)
      this.#dead.set(id, true)
      hasDied = true
    })
    await Promise.all(looks)
    if (hasDied) this.#host.onDied()
  }

  #leasesOf(id: string): Leases {
    return new Leases(this.#host.values, PREFIX, id, this.#host.leaseMs)
  }
}
