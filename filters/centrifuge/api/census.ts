import { hostname } from 'node:os'
import type { Server, Storage } from 'filtered-websocket'
import { inSlices, NodeCalls, readPattern, topicParts } from 'filtered-websocket/kit'
import { CommandError } from '../command-error.ts'
import { badRequest, nameOf, type Params } from './params.ts'

/** Channels of one answer. */
const MAX_CHANNELS = 10_000
/** Milliseconds for the answer of a node. */
const TIMEOUT = 1000

/** A question to a node: for the channels that a pattern matches, or for the counts of the node. */
type Question = { readonly pattern: string } | { readonly info: true }
/** Members by channel; more than `MAX_CHANNELS` channels are too many. */
type Counts = Readonly<Record<string, number>>

/** Counts the clients of all nodes and protocols. */
export class Census {
  readonly #nodes: NodeCalls
  readonly #startedAt = performance.now()
  #server: Server | undefined

  constructor(storage: Pick<Storage, 'bus' | 'sets'>) {
    const { bus, sets } = storage
    const answer = (question: unknown) => this.#answer(question as Question)
    this.#nodes = new NodeCalls({ bus, sets, prefix: 'centrifuge', answer })
  }

  start(server: Server): Promise<void> {
    this.#server = server
    return this.enter()
  }

  /** Call it repeatedly, since the storage may have been unavailable, or have lost its data. */
  async enter(): Promise<void> {
    // The storage logs its failures.
    await this.#nodes.start().catch(() => {})
  }

  async stop(): Promise<void> {
    await this.#nodes.stop().catch(() => {})
  }

  /** The channels with members that the pattern matches. */
  async channels(params: Params): Promise<string> {
    const pattern = nameOf(params.pattern, 'pattern') ?? '**'
    checkPattern(pattern)
    const channels = new Map<string, { num_clients: number }>()
    for (const counts of (await this.#ask({ pattern })) as readonly Counts[])
      for (const [name, count] of Object.entries(counts))
        channels.set(name, { num_clients: count + (channels.get(name)?.num_clients ?? 0) })
    if (channels.size <= MAX_CHANNELS) return JSON.stringify({ channels: Object.fromEntries(channels) })
    throw new CommandError({ code: 106, message: `more than ${MAX_CHANNELS} channels; give a pattern` })
  }

  async info(): Promise<string> {
    return JSON.stringify({ nodes: await this.#ask({ info: true }) })
  }

  /** The answers of all nodes, this one's first. A node that does not answer within a second, such as one that has died, has none. */
  async #ask(question: Question): Promise<readonly unknown[]> {
    const others = this.#nodes.askAll(question, { timeout: TIMEOUT })
    const [own, answers] = await Promise.all([this.#answer(question), others])
    return [own, ...answers.values()]
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
