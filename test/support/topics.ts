import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import {
  connectTopics,
  type Position,
  type SubscribeOptions,
  type Topics,
  type TopicsOptions,
} from '../../client/node.ts'
import type { Test } from './cli.ts'
import { until } from './peer.ts'

/** Connects with short delays; closed after the test. */
export function topicsAt(t: Test, url: string, options: TopicsOptions = {}): Topics {
  const topics = connectTopics(url, { firstDelay: 20, maxDelay: 200, ...options })
  t.after(() => topics.close())
  return topics
}

/** Closes of a connection: the code, and whether it comes back. */
export function closesOf(topics: Topics): (readonly [code: number, isFinal: boolean])[] {
  const closes: (readonly [number, boolean])[] = []
  topics.on('close', ({ code, retryIn }) => closes.push([code, retryIn === undefined]))
  return closes
}

/** What a page sees of a topic, in order: messages, `reset: REASON`, `end: CODE`. */
export class View {
  readonly seen: unknown[] = []
  readonly offsets: (number | undefined)[] = []
  readonly #subscription: ReturnType<Topics['subscribe']>

  constructor(topics: Topics, topic: string, options: Partial<SubscribeOptions> = {}) {
    this.#subscription = topics.subscribe(topic, {
      onMessage: (data, { offset }) => {
        this.seen.push(data)
        this.offsets.push(offset)
      },
      onReset: reason => this.seen.push(`reset: ${reason}`),
      onEnd: ({ code }) => this.seen.push(`end: ${code}`),
      ...options,
    })
  }

  get position(): Position | undefined {
    return this.#subscription.position
  }

  unsubscribe(): void {
    this.#subscription.unsubscribe()
  }

  /** Waits until so much is seen. */
  async get(count: number): Promise<unknown[]> {
    await until(() => this.seen.length >= count, `${count} events, got ${JSON.stringify(this.seen)}`)
    return this.seen.slice(0, count)
  }
}

/** A command of a client, by its method. */
export type Command = Readonly<Record<string, Record<string, unknown>>> & { readonly id?: number }

/** A server that speaks the protocol as the test says. */
export interface Scripted {
  readonly url: string
  /** Received frames. */
  readonly frames: string[]
  /** Open connections, in order. */
  readonly sockets: WebSocket[]
}

/** @param answer - returns the reply to a command, without its id; `undefined`: none. Default: accepts all. */
export async function scripted(
  t: Test,
  answer: (command: Command, socket: WebSocket) => object | undefined = () => undefined,
): Promise<Scripted> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const frames: string[] = []
  const sockets: WebSocket[] = []
  server.on('connection', socket => {
    sockets.push(socket)
    socket.on('message', data => {
      frames.push(String(data))
      for (const line of String(data).split('\n')) {
        const command = JSON.parse(line) as Command
        const reply = command.id && answer(command, socket)
        if (reply) socket.send(JSON.stringify({ id: command.id, ...reply }))
      }
    })
  })
  t.after(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, frames, sockets }
}

/** The reply that accepts a command. */
export function accept({ connect, subscribe, publish }: Command): object | undefined {
  if (connect) return { connect: { client: 'c' } }
  if (subscribe) return { subscribe: {} }
  return publish && { publish: {} }
}
