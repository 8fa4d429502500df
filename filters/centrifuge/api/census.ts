import { hostname } from 'node:os'
import type { Server, Storage } from 'filtered-websocket'
import { inSlices, readPattern, topicParts } from 'filtered-websocket/kit'
import { CommandError } from '../command-error.ts'
import { Nodes } from './nodes.ts'
import { badRequest, nameOf, type Params } from './params.ts'

/** Channels of one answer. */
const MAX_CHANNELS = 10_000

/** A question to a node: for the channels that a pattern matches, or for the counts of the node. */
type Question = { readonly pattern: string } | { readonly info: true }
/** Members by channel; more than `MAX_CHANNELS` channels are too many. */
type Counts = Readonly<Record<string, number>>

/** Counts the clients of all nodes and protocols. */
export class Census {
  readonly #nodes: Nodes
  readonly #startedAt = performance.now()
  #server: Server | undefined

  constructor(storage: Pick<Storage, 'bus' | 'sets'>) {
    this.#nodes = new Nodes(storage, question => this.#answer(question as Question))
  }

  start(server: Server): Promise<void> {
    this.#server = server
    return this.enter()
  }

  /** Call it repeatedly, since the storage may have been unavailable, or have lost its data. */
  async enter(): Promise<void> {
    // The storage logs its failures.
    await this.#nodes.enter().catch(() => {})
  }

  async stop(): Promise<void> {
    await this.#nodes.leave().catch(() => {})
  }

  /** The channels with members that the pattern matches. */
  async channels(params: Params): Promise<string> {
    const pattern = nameOf(params.pattern, 'pattern') ?? '**'
    checkPattern(pattern)
    const channels = new Map<string, { num_clients: number }>()
    for (const counts of (await this.#nodes.ask({ pattern })) as readonly Counts[])
      for (const [name, count] of Object.entries(counts))
        channels.set(name, { num_clients: count + (channels.get(name)?.num_clients ?? 0) })
    if (channels.size <= MAX_CHANNELS) return JSON.stringify({ channels: Object.fromEntries(channels) })
    throw new CommandError({ code: 106, message: `more than ${MAX_CHANNELS} channels; give a pattern` })
  }

  async info(): Promise<string> {
    return JSON.stringify({ nodes: await this.#nodes.ask({ info: true }) })
  }

  #answer(question: Question): Promise<unknown> {
    return 'pattern' in question ? this.#counts(question.pattern) : this.#info()
  }

  async #counts(pattern: string): Promise<Counts> {
    const matches = readPattern(pattern)
    const counts = new Map<string, number>()
    await inSlices(this.#server!.clients.values(), ({ topics }) => {
      for (const topic of topics) {
        const counted = counts.get(topic)
        if (counted !== undefined) counts.set(topic, counted + 1)
        else if (counts.size <= MAX_CHANNELS && matches(topicParts(topic))) counts.set(topic, 1)
      }
    })
    return Object.fromEntries(counts)
  }

  async #info(): Promise<object> {
    const users = new Set<string>()
    const topics = new Set<string>()
    let clients = 0
    await inSlices(this.#server!.clients.values(), client => {
      clients++
      if (client.identity !== undefined) users.add(client.identity)
      for (const topic of client.topics) if (!topic.startsWith('@')) topics.add(topic)
    })
    return {
      uid: this.#nodes.id,
      name: hostname(),
      version: '',
      num_clients: clients,
      num_users: users.size,
      num_channels: topics.size,
      uptime: Math.floor((performance.now() - this.#startedAt) / 1000),
    }
  }
}

function checkPattern(text: string): void {
  try {
    readPattern(text)
  } catch (error) {
    throw badRequest(`pattern: ${(error as Error).message}`)
  }
}
