import { type Client, FwsError, type Host, PRESENCE, type Server } from 'filtered-websocket'
import { BoundedMap, inSlices, NodeRegistry, type Pattern, RateLimitedLog, topicParts } from 'filtered-websocket/kit'
import type { ListOptions, MemberPage, PresenceApi, PresenceChange, PresenceCount } from './api.ts'
import { clientsIn } from './attributes.ts'
import { type Description, readDescription } from './description.ts'
import { readRange } from './list.ts'
import { type TopicHost, TopicPresence } from './topic.ts'

/** Descriptions of a client for topics that it has not joined yet: at most 1 MiB. */
const MAX_DESCRIPTIONS = 256
/** Looks at the nodes per lease. */
const LOOKS = 3
/** Milliseconds, and looks at the nodes, in which each topic is looked at once: the storage may delete a stream that is not used for an hour. */
const ROUND_MS = 600_000
const MAX_ROUND = 60
/** Milliseconds between two checks whether a user leaves. */
const DUE_MS = 200

export interface PresenceOptions {
  readonly patterns: readonly Pattern[]
  /** Milliseconds. */
  readonly graceMs: number
  readonly leaseMs: number
  readonly max: number
}

/** The members of all topics: the clients of this node, and through the storage those of other nodes. */
export class Presence implements PresenceApi {
  readonly #options: PresenceOptions
  readonly #nodes: NodeRegistry
  readonly #log: RateLimitedLog
  readonly #topics = new Map<string, TopicPresence>()
  readonly #descriptions = new WeakMap<Client, BoundedMap<string, Description>>()
  /** The users of clients that no protocol has described. */
  readonly #users = new WeakMap<Client, string>()
  readonly #topicHost: TopicHost
  /** Set before a client can join. */
  #server: Server | undefined
  #looks = 0

  constructor({ storage, log, every }: Pick<Host, 'storage' | 'log' | 'every'>, options: PresenceOptions) {
    this.#options = options
    this.#log = new RateLimitedLog(log)
    const { leaseMs, graceMs, max } = options
    this.#nodes = new NodeRegistry({
      values: storage.values,
      sets: storage.sets,
      prefix: 'presence',
      deadAfterMs: 2 * leaseMs,
      onRenamed: () => void inSlices(this.#topics.values(), topic => topic.renew()),
      onDied: () => void inSlices(this.#topics.values(), topic => topic.look()),
    })
    const nodes = this.#nodes
    this.#topicHost = {
      server: () => this.#server!,
      max,
      node: () => nodes.id,
      isOwn: node => nodes.isOwn(node),
      isDead: node => nodes.isDead(node),
      wasAlive: node => nodes.wasAlive(node),
      // The clients of a dead node have gone at least two leases ago.
      graceOf: node => (nodes.isOwn(node) ? graceMs : Math.max(0, graceMs - 2 * leaseMs)),
      onIdle: topic => {
        if (this.#topics.get(topic.topic) === topic) this.#topics.delete(topic.topic)
      },
      failed: (err, topic) => this.#log.add('warn', { err, topic }, 'presence waits for the storage'),
    }
    every(leaseMs / LOOKS, () => this.#look())
    every(DUE_MS, () => {
      const now = Date.now()
      for (const topic of this.#topics.values()) topic.settleDue(now)
    })
  }

  /** Id of this node in the records of its clients. */
  get node(): string {
    return this.#nodes.id
  }

  async start(server: Server): Promise<void> {
    this.#server = server
    await this.#nodes.start()
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#topics.values(), topic => topic.stop()))
    await this.#nodes.stop().catch(() => {})
  }

  covers(topic: string): boolean {
    const parts = topicParts(topic)
    return this.#options.patterns.some(matches => matches(parts))
  }

  joined(topic: string, client: Client): void {
    if (topic.startsWith(PRESENCE)) this.#countWatchers(topic.slice(PRESENCE.length), 1)
    else if (this.covers(topic)) this.#join(topic, client)
  }

  left(topic: string, client: Client): void {
    if (topic.startsWith(PRESENCE)) this.#countWatchers(topic.slice(PRESENCE.length), -1)
    else this.#topics.get(topic)?.leave(client.id)
  }

  describe(client: Client, topic: string, as: Parameters<PresenceApi['describe']>[2]): void {
    const description = readDescription(as)
    let descriptions = this.#descriptions.get(client)
    if (descriptions === undefined) {
      descriptions = new BoundedMap(MAX_DESCRIPTIONS)
      this.#descriptions.set(client, descriptions)
    }
    descriptions.set(topic, description)
  }

  async list(topic: string, how: ListOptions = {}): Promise<MemberPage> {
    const range = readRange(how)
    return (await this.#of(topic).list()).page(range)
  }

  async count(topic: string): Promise<PresenceCount> {
    const totals = await this.#of(topic).totals()
    return { clients: clientsIn(totals), users: totals.users }
  }

  gauges(): ReturnType<PresenceApi['gauges']> {
    let [members, waiting] = [0, 0]
    for (const { gauges } of this.#topics.values()) {
      members += gauges.members
      waiting += gauges.waiting
    }
    return { topics: this.#topics.size, members, waiting }
  }

  watch(topic: string, onChange: (change: PresenceChange) => void): () => void {
    this.#check(topic)
    if (this.#server === undefined) throw new FwsError('ERR_STATE', 'watch() before the start of filter presence')
    let unwatch: (() => void) | undefined = this.#server.watch(PRESENCE + topic, {
      entry: ({ payload }) => onChange(JSON.parse(String(payload))),
      lost: (_, reason) => onChange({ lost: reason }),
    })
    this.#countWatchers(topic, 1)
    return () => {
      if (unwatch === undefined) return
      unwatch()
      unwatch = undefined
      this.#countWatchers(topic, -1)
    }
  }

  #join(topic: string, client: Client): void {
    const descriptions = this.#descriptions.get(client)
    const { user = userOf(client), info } = descriptions?.get(topic) ?? {}
    descriptions?.delete(topic)
    this.#of(topic).join(client.id, { user, info, since: Date.now() })
    if (this.#users.has(client)) return
    this.#users.set(client, userOf(client))
    client.onIdentity(() => this.#identify(client))
  }

  /** A client with another identity leaves as the old user, and joins as the new one. */
  #identify(client: Client): void {
    const before = this.#users.get(client)
    const user = userOf(client)
    if (user === before) return
    this.#users.set(client, user)
    for (const topic of client.topics) {
      const member = this.#topics.get(topic)?.memberOf(client.id)
      if (member?.user === before) this.#of(topic).join(client.id, { ...member!, user, since: Date.now() })
    }
  }

  #countWatchers(topic: string, step: 1 | -1): void {
    if (!this.covers(topic)) return
    const watched = this.#of(topic)
    watched.watchers += step
    // Members of a dead node are removed by nodes that look at the topic.
    watched.look()
  }

  /** @throws FwsError `ERR_STATE`. */
  #check(topic: string): void {
    if (typeof topic === 'string' && this.covers(topic)) return
    const message = `no pattern of --presence-topics matches the topic ${JSON.stringify(topic)?.slice(0, 100)}`
    throw new FwsError('ERR_STATE', message)
  }

  #of(name: string): TopicPresence {
    this.#check(name)
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new TopicPresence(name, this.#topicHost)
      this.#topics.set(name, topic)
    }
    return topic
  }

  async #look(): Promise<void> {
    try {
      await this.#nodes.look()
    } catch (err) {
      this.#log.add('warn', { err }, 'presence waits for the storage')
      return
    }
    const lookMs = this.#options.leaseMs / LOOKS
    const looks = Math.max(1, Math.min(MAX_ROUND, Math.floor(ROUND_MS / lookMs)))
    const look = this.#looks++ % looks
    let i = 0
    await inSlices(this.#topics.values(), topic => {
      if (i++ % looks === look || topic.mayHaveDead) topic.look()
    })
  }
}

function userOf({ identity, id }: Client): string {
  return identity ?? id
}
