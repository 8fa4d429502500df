import type { Audience, Client, PublishOptions, Server, Target } from '../contract/client.ts'
import { checkCloseCode } from '../contract/close.ts'
import { DROP, type Drop } from '../contract/drop.ts'
import { checkFormat, checkPayload, jsonOf, type Payload } from '../contract/payload.ts'
import type { Handshake } from '../contract/peer.ts'
import type { JoinOptions, NewEntry } from '../contract/streams.ts'
import { createCounters } from '../fanout/counters.ts'
import { NOTICE, plain } from '../fanout/wire.ts'

/** A client that records calls, to test a handler as a plain function. */
export interface FakeClient extends Client {
  readonly sent: Payload[]
  readonly broadcasts: { readonly payload: Payload; readonly to: Audience | undefined }[]
  readonly published: { readonly channel: string; readonly payload: Payload }[]
  /** Calls of `client.publish` and `server.publishTo`. */
  readonly publications: {
    readonly topic: string
    readonly payload: Payload
    readonly how: PublishOptions | undefined
  }[]
  /** Calls of `server.append`, which answers with the offsets 1, 2, 3 ... */
  readonly appends: { readonly topic: string; readonly entries: Payload | readonly NewEntry[] }[]
  /** Reasons passed to `drop`. */
  readonly drops: (string | undefined)[]
  readonly refused: { readonly status: number; readonly reason: string | undefined } | undefined
  readonly disconnected: { readonly code: number; readonly reason: string } | undefined
  readonly held: boolean
  /** Calls of `server.disconnect`, and of `server.unsubscribe` with the topic. */
  readonly orders: { readonly target: Target; readonly code?: number | undefined; readonly leave?: string }[]
  /** Reasons passed to `server.stop`. */
  readonly stops: string[]
}

/**
 * Creates a client that records calls.
 *
 * @example
 * const client = fakeClient()
 * echo.message('hi', client)
 * client.sent // ['hi']
 */
export function fakeClient({
  id = 'test',
  remote = '127.0.0.1',
  handshake,
}: {
  id?: string
  remote?: string
  handshake?: Handshake
} = {}): FakeClient {
  const topics = new Set<string>()
  const identityHandlers: Parameters<Client['onIdentity']>[0][] = []
  const clients = new Map<string, Client>()
  const server = {
    clients,
    ready: true,
    checks: { listening: true, accepting: true, storage: true, sending: true, receiving: true, writing: true },
    handlers: [],
    storageMetrics: {},
    observe: () => () => {},
    counters: createCounters(),
    broadcast: (payload: Payload, to?: Audience) => {
      checkPayload('broadcast', payload)
      client.broadcasts.push({ payload, to })
    },
    append: async (topic: string, entries: Payload | readonly NewEntry[]) => {
      client.appends.push({ topic, entries })
      return { position: { epoch: 'fake', offset: client.appends.length }, repeated: false }
    },
    publish: (channel: string, payload: Payload) => {
      checkPayload('publish', payload)
      client.published.push({ channel, payload })
    },
    keeps: () => false,
    publishTo: (topic: string, payload: Payload, how?: PublishOptions) => client.publish(topic, payload, how),
    disconnect: (target: Target, code?: number) => void client.orders.push({ target, code }),
    unsubscribe: (target: Target, leave: string) => void client.orders.push({ target, leave }),
    stop: (why: string) => void client.stops.push(why),
    attach: () => {
      throw new Error('a fake client has no server to attach to; use testServer')
    },
    admit: () => Promise.reject(new Error('a fake client has no server to admit requests; use createServer')),
  } as unknown as Server
  const client = {
    id,
    remote,
    handshake,
    server,
    topics,
    transport: 'websocket',
    state: {},
    buffered: 0,
    signal: new AbortController().signal,
    onGone: () => {},
    onAdmitted: (handler: () => void) => handler(),
    codec: plain,
    sent: [] as Payload[],
    broadcasts: [] as FakeClient['broadcasts'],
    published: [] as FakeClient['published'],
    publications: [] as FakeClient['publications'],
    appends: [] as FakeClient['appends'],
    drops: [] as FakeClient['drops'],
    refused: undefined as FakeClient['refused'],
    disconnected: undefined as FakeClient['disconnected'],
    held: false,
    identity: undefined as string | undefined,
    orders: [] as FakeClient['orders'],
    stops: [] as string[],
    may: () => true,
    send: (payload: Payload, format?: string) => {
      checkPayload('send', payload)
      checkFormat(format)
      if (format !== undefined && format !== NOTICE && !client.codec.formats?.includes(format)) return
      client.sent.push(payload)
    },
    sendJson: (value: unknown, format?: string) => client.send(jsonOf(value), format),
    join: ((topic: string, how?: JoinOptions) => {
      topics.add(topic)
      return how && Promise.resolve({ position: undefined, recovered: how.after === 'now', entries: [] })
    }) as Client['join'],
    publish: async (topic: string, payload: Payload, how?: PublishOptions) => {
      checkPayload('publish', payload)
      client.publications.push({ topic, payload, how })
      return undefined
    },
    leave: (topic: string) => void topics.delete(topic),
    recheck: async () => {
      for (const handler of identityHandlers) await handler(client)
    },
    onIdentity: (handler: Parameters<Client['onIdentity']>[0]) => void identityHandlers.push(handler),
    onRemoved: () => {},
    drained: () => Promise.resolve(),
    finish: () => {},
    answer: (payload: Payload, format?: string): Drop => {
      client.send(payload, format)
      return DROP
    },
    drop: (reason?: string): Drop => {
      client.drops.push(reason)
      return DROP
    },
    refuse: (status: number, reason?: string): Drop => {
      client.refused = { status, reason }
      return DROP
    },
    hold: () => {
      client.held = true
    },
    admit: (): void => {
      client.held = false
    },
    disconnect: (code = 1000, reason = ''): Drop => {
      checkCloseCode(code)
      client.disconnected = { code, reason }
      return DROP
    },
    close: () => void client.disconnect(),
  }
  clients.set(id, client)
  return client
}
