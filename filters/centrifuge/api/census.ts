import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Server } from 'filtered-websocket'
import { inSlices, readPattern, topicParts } from 'filtered-websocket/kit'
import { CommandError } from '../command-error.ts'
import { badRequest, nameOf, type Params } from './params.ts'

/** Channels of one answer. */
const MAX_CHANNELS = 10_000

/** Counts the clients of this node, of all protocols. */
export class Census {
  readonly #uid = randomUUID()
  readonly #startedAt = performance.now()

  /** The channels with members that match the pattern. */
  async channels(server: Server, params: Params): Promise<string> {
    const pattern = nameOf(params.pattern, 'pattern')
    const matches = patternOf(pattern ?? '**')
    const counts = new Map<string, { num_clients: number }>()
    await inSlices(server.clients.values(), ({ topics }) => {
      for (const topic of topics) {
        const counted = counts.get(topic)
        if (counted !== undefined) counted.num_clients++
        else if (matches(topicParts(topic))) counts.set(topic, { num_clients: 1 })
      }
      if (counts.size > MAX_CHANNELS)
        throw new CommandError({ code: 106, message: `more than ${MAX_CHANNELS} channels; give a pattern` })
    })
    return JSON.stringify({ channels: Object.fromEntries(counts) })
  }

  async info(server: Server): Promise<string> {
    const users = new Set<string>()
    const topics = new Set<string>()
    let clients = 0
    await inSlices(server.clients.values(), client => {
      clients++
      if (client.identity !== undefined) users.add(client.identity)
      for (const topic of client.topics) if (!topic.startsWith('@')) topics.add(topic)
    })
    const node = {
      uid: this.#uid,
      name: hostname(),
      version: '',
      num_clients: clients,
      num_users: users.size,
      num_channels: topics.size,
      uptime: Math.floor((performance.now() - this.#startedAt) / 1000),
    }
    return JSON.stringify({ nodes: [node] })
  }
}

function patternOf(text: string): ReturnType<typeof readPattern> {
  try {
    return readPattern(text)
  } catch (error) {
    throw badRequest(`pattern: ${(error as Error).message}`)
  }
}
