import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { Presence, type PresenceOptions } from '../../filters/presence/presence.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import type { Client, Server, Storage, Streams } from '../../src/index.ts'
import { PRESENCE } from '../../src/index.ts'
import { readPattern } from '../../src/kit/pattern.ts'
import { KeptTopics } from '../../src/streams/kept-topics.ts'

const RETENTION = { size: 100_000, ttlMs: 600_000, full: 'trim' } as const
const log = pino({ level: 'silent' })

type Shared = Pick<Storage, 'values' | 'sets'>

export type NodeOptions = Partial<PresenceOptions> & {
  /** Milliseconds that a change waits for the storage before it is made again. */
  readonly waitMs?: number
}

/** A node with filter `presence` alone: its clients are names. */
export class PresenceNode {
  readonly presence: Presence
  readonly totals = createCounters().streams
  readonly #kept: KeptTopics
  readonly #clients = new Map<string, { identity: string; readonly topics: Set<string>; renamed?: () => void }>()
  readonly #timers: NodeJS.Timeout[] = []

  private constructor(streams: Streams, storage: Shared, { waitMs = 2000, ...options }: NodeOptions = {}) {
    this.#kept = new KeptTopics({
      streams,
      instance: randomUUID(),
      totals: this.totals,
      drops: {},
      log,
      retain: topic => (topic.startsWith(PRESENCE) ? { ...RETENTION, waitMs } : undefined),
      deliver: () => {},
      lose: () => {},
      hasMembers: () => false,
    })
    this.#kept.start()
    const every = (ms: number, run: () => unknown) => {
      // As in a server, runs do not overlap.
      let isRunning = false
      const timer = setInterval(async () => {
        if (isRunning) return
        isRunning = true
        await run()
        isRunning = false
      }, ms)
      this.#timers.push(timer)
    }
    const host = { storage: storage as Storage, log, every }
    const defaults = { patterns: [readPattern('**')], graceMs: 0, leaseMs: 10_000, max: 1000 }
    this.presence = new Presence(host, { ...defaults, ...options })
  }

  static async start(streams: Streams, storage: Shared, options?: NodeOptions): Promise<PresenceNode> {
    const node = new PresenceNode(streams, storage, options)
    const { kept } = node
    const server: Pick<Server, 'append' | 'read'> = {
      append: (topic, entries, how = {}) => kept.append(kept.of(topic)!, { entries: entries as never, ...how }),
      read: (topic, range) => kept.read(kept.of(topic)!, range),
    }
    await node.presence.start(server as Server)
    return node
  }

  get kept(): KeptTopics {
    return this.#kept
  }

  /** Identities of its clients, by id. */
  membersOf(topic: string): ReadonlyMap<string, string> {
    const members = [...this.#clients].filter(([, { topics }]) => topics.has(topic))
    return new Map(members.map(([id, { identity }]) => [id, identity]))
  }

  join(id: string, identity: string, topic: string): void {
    let client = this.#clients.get(id)
    if (client === undefined) {
      client = { identity, topics: new Set() }
      this.#clients.set(id, client)
    }
    const { topics } = client
    topics.add(topic)
    this.presence.joined(topic, this.#asClient(id))
  }

  leave(id: string, topic: string): void {
    this.#clients.get(id)!.topics.delete(topic)
    this.presence.left(topic, this.#asClient(id))
  }

  rename(id: string, identity: string): void {
    this.#clients.get(id)!.identity = identity
    this.#clients.get(id)!.renamed?.()
  }

  /** Changes of a topic wait longer for the storage from now on. */
  wait(topic: string, waitMs: number): void {
    Object.assign(this.#kept.of(PRESENCE + topic)!.bounds, { waitMs })
  }

  /** Ends as after SIGKILL; its streams MUST NOT answer from now on. */
  kill(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#kept.stop()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await this.presence.stop()
    await this.#kept.close()
  }

  /** The same object for a client each time. */
  readonly #objects = new Map<string, Client>()
  #asClient(id: string): Client {
    let client = this.#objects.get(id)
    if (client === undefined) {
      const own = this.#clients.get(id)!
      client = {
        id,
        get identity() {
          return own.identity
        },
        topics: own.topics,
        onIdentity: (handler: (client: Client) => void) => {
          own.renamed = () => handler(client!)
        },
      } as unknown as Client
      this.#objects.set(id, client)
    }
    return client
  }
}

/** The users after all entries of `@presence/TOPIC`. @throws Error if a user joins or leaves twice. */
export function replay(payloads: readonly string[]): string[] {
  const users = new Set<string>()
  for (const payload of payloads) {
    const { join, leave } = JSON.parse(payload)
    const { user } = join ?? leave
    if (join !== undefined && users.has(user)) throw new Error(`${user} joins twice: ${payloads.join(' ')}`)
    if (leave !== undefined && !users.delete(user)) throw new Error(`${user} leaves twice: ${payloads.join(' ')}`)
    if (join !== undefined) users.add(user)
  }
  return [...users].toSorted()
}
