import { resolve as absolute } from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import { pino } from 'pino'
import type { Handler } from '../chain/chain.ts'
import { readGiven } from '../config/config-file.ts'
import type { Client, Server } from '../contract/client.ts'
import type { FilterModule, Handlers } from '../contract/filter.ts'
import type { Payload } from '../contract/payload.ts'
import type { Closed, Handshake } from '../contract/peer.ts'
import type { Refusal } from '../contract/refusal.ts'
import { assemble } from '../lifecycle/assembly.ts'
import { makePlan } from '../lifecycle/plan.ts'
import { createLoader, type ServerOptions } from '../lifecycle/server.ts'
import { Headless, handshakeOf } from '../offline/headless.ts'
import type { ServerClient } from '../peer/client.ts'
import { frame, MemoryTransport } from './transport.ts'

export {
  checkIdempotency,
  type IdempotencyCheck,
  type IdempotencyCheckOptions,
  type IdempotentNode,
} from './check-idempotency.ts'
export { DelayedStreams, type DelayOptions, type StreamFaults } from './delayed-streams.ts'
export { type FakeClient, fakeClient } from './fake-client.ts'

/** The request of a test client. */
export interface Caller {
  /** Default: `websocket`. */
  kind?: 'websocket' | 'stream'
  /** Request target. Default: `/`. */
  url?: string
  headers?: Readonly<Record<string, string>>
  protocols?: readonly string[]
  remote?: string
}

/** A test client without a socket, with the real chains and fan-out. */
export interface TestClient {
  readonly client: Client
  /** Received messages, in order. */
  readonly received: readonly Payload[]
  /** Close code and reason from the server; `undefined` while the client is open. */
  readonly closed: Pick<Closed, 'code' | 'reason'> | undefined
  /** Sends a message; settles when the chain has handled it and all messages are delivered. */
  say(payload: Payload): Promise<void>
  /** Closes the connection; settles when the disconnect chain has run. */
  leave(code?: number, reason?: string): Promise<void>
}

/** An admitted request without a socket. */
export interface TestRequest {
  readonly client: Client
  /** Ends the response. */
  end(): void
}

/** A server without a listener. */
export interface TestServer {
  readonly server: Server
  /** Parsed log lines. */
  readonly logged: readonly Record<string, unknown>[]
  /** Standard output of the filters. */
  readonly printed: string
  /** @throws Refused if a connect filter refuses. */
  connect(caller?: Caller): Promise<TestClient>
  /**
   * Admits a plain request, as `server.admit` does.
   *
   * @throws Refused if a connect filter refuses.
   */
  request(caller?: Omit<Caller, 'kind'>): Promise<TestRequest>
  /** Runs the consumer chain with an event. */
  publish(channel: string, payload: Payload): Promise<void>
  /** Delivers all sent messages. */
  flush(): void
  stop(): Promise<void>
}

/** A connect filter has refused the client. */
export class Refused extends Error {
  readonly status: number
  readonly reason: string | undefined
  readonly headers: Refusal['headers']

  constructor({ status, reason, headers }: Refusal) {
    super(`refused with ${status}${reason === undefined ? '' : `: ${reason}`}`)
    this.status = status
    this.reason = reason
    this.headers = headers
  }
}

/**
 * Starts a server with filters and without a socket.
 *
 * @param filters - names or modules, as for `createServer`.
 * @param options - options of the core, the filters and the storage, and `stdin`, a stream in place of standard input.
 *
 * @example
 * const server = await testServer(['rate-limit', myFilter], { 'rate-limit-messages': 2 })
 * const ann = await server.connect()
 * await ann.say('hi')
 * await server.stop()
 */
export async function testServer(
  filters: NonNullable<ServerOptions['filters']>,
  options: Readonly<Record<string, unknown>> = {},
): Promise<TestServer> {
  const base = absolute('.')
  const { stdin, ...given } = options as { stdin?: Readable }
  const plan = await makePlan({ given: readGiven({ ...given, filters }, base), base }, createLoader())
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug', base: null }, { write: line => void logged.push(JSON.parse(line)) })
  const stdout = new PassThrough()
  let printed = ''
  stdout.on('data', chunk => {
    printed += chunk
  })
  const headless = await Headless.start(plan, { log, stdout, stdin })
  const { hub } = headless

  return {
    server: hub,
    logged,
    get printed() {
      return printed
    },
    connect: async (caller = {}) => {
      const { kind = 'websocket' } = caller
      const client = await arrive(headless, caller, kind)
      const transport = new MemoryTransport(client, kind)
      client.open(transport)
      return testClient(client, transport)
    },
    request: async (caller = {}) => {
      const client = await arrive(headless, caller, 'request')
      client.accept()
      return { client, end: () => client.abandoned() }
    },
    publish: (channel, payload) => headless.publish({ channel, payload }),
    flush: () => hub.fanout.flush(),
    stop: () => headless.stop(),
  }
}

type One<F> = F extends readonly (infer H)[] ? H : F
/** The handlers of a filter, each as one function. */
export type SetUp = { [K in keyof Handlers]: One<NonNullable<Handlers[K]>> }

/**
 * Runs the setup of a filter and returns its handlers. `stop` also ends its timers. An array of handlers becomes one function
 * that calls them until one returns a value.
 *
 * @example
 * const { message, stop } = await setUp(words, { 'words-max': 5 })
 */
export async function setUp(module: FilterModule, options: Readonly<Record<string, unknown>> = {}): Promise<SetUp> {
  const base = absolute('.')
  const plan = await makePlan({ given: readGiven({ ...options, filters: [module] }, base), base }, createLoader())
  const assembly = await assemble(plan, { log: pino({ level: 'silent' }), stdout: new PassThrough() })
  const { handlers } = assembly.filters.at(-1)!
  const stop = async () => {
    await handlers.stop?.()
    await assembly.close()
  }
  const each = Object.entries(handlers).map(([key, handler]) => [key, inOne([handler].flat() as Handler[])])
  return { ...Object.fromEntries(each), stop }
}

function inOne(handlers: readonly Handler[]): Handler {
  return (...args) => {
    for (const handler of handlers) {
      const verdict = handler(...args)
      if (verdict !== undefined) return verdict
    }
    return undefined
  }
}

/** Runs the connect chain. @throws Refused */
async function arrive(headless: Headless, caller: Caller, kind: Handshake['kind']): Promise<ServerClient> {
  const { remote = '127.0.0.1' } = caller
  const arrived = await headless.arrive({ remote, handshake: handshakeOf(kind, caller), frame })
  if ('refused' in arrived) throw new Refused(arrived.refused)
  return arrived.client
}

function testClient(client: ServerClient, transport: MemoryTransport): TestClient {
  const { fanout } = client.hub
  const idle = () => new Promise<void>(resolve => client.whenIdle(resolve))
  return {
    client,
    received: transport.received,
    get closed() {
      return transport.ending
    },
    say: async payload => {
      client.receive(payload)
      await idle()
      fanout.flush()
    },
    leave: async (code = 1000, reason = '') => {
      transport.end(code, reason)
      while (client.hub.isLeaving(client)) await new Promise(setImmediate)
      fanout.flush()
    },
  }
}
