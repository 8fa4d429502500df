import type {
  Awaitable,
  Client,
  Closed,
  Drop,
  Host,
  OptionSpecs,
  Payload,
  Server,
  WslinkProcedures,
} from 'filtered-websocket'
import { optionError } from 'filtered-websocket/kit'
import { Authenticator, type Validate } from './wslink/authenticator.ts'
import { Calls } from './wslink/calls.ts'
import { Codecs } from './wslink/codecs.ts'
import { isTopic } from './wslink/envelope.ts'
import { exitProcedures } from './wslink/exit-procedures.ts'
import { type Procedure, Procedures, type ProcedureTree } from './wslink/procedures.ts'
import { type PublishAudience, Publisher } from './wslink/publisher.ts'
import { type Service, Session } from './wslink/session.ts'
import { type OnSubscribe, Subscriptions } from './wslink/subscriptions.ts'
import { ProtocolV1 } from './wslink/v1/protocol.ts'
import { ProtocolV2 } from './wslink/v2/protocol.ts'

export const describe = 'Serve procedures and topics to clients of wslink 1.x and 2.x'

export const options = {
  'wslink-secret': { type: 'string', secret: true, describe: 'Secret that clients send to authenticate' },
  'wslink-open': { type: 'boolean', default: false, describe: 'Admit all clients without a secret' },
  'wslink-max-hello': {
    type: 'number',
    default: 8192,
    min: 64,
    integer: true,
    describe: 'Maximum bytes of a message before authentication',
  },
  'wslink-max-message': {
    type: 'number',
    default: 128 * 1024 * 1024,
    min: 1024,
    integer: true,
    describe:
      'Maximum bytes of a message, of all unfinished messages of a client (more closes 1009), and of its running calls',
  },
  'wslink-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 64,
    integer: true,
    describe: 'Maximum bytes of a message besides its byte arrays; more closes 1009',
  },
  'wslink-pending': {
    type: 'number',
    default: 128,
    min: 1,
    integer: true,
    describe: 'Concurrent calls of a client; further ones are not read until one ends',
  },
  'wslink-topic': {
    type: 'string',
    describe: 'Topic on which broadcasts of other filters are published. Default: they are not',
  },
  'wslink-exit': { type: 'boolean', default: false, describe: 'Let clients stop the server with application.exit' },
  'wslink-debug': {
    type: 'boolean',
    default: false,
    describe: 'Send clients the stack of errors that procedures throw',
  },
} as const satisfies OptionSpecs

/** The api of `host.use('wslink')`. */
export interface WslinkApi {
  /** Registers a procedure that clients can call; see `Procedure`. */
  register<N extends string>(
    name: N,
    procedure: N extends keyof WslinkProcedures ? WslinkProcedures[N] : Procedure,
  ): void
  /** Registers all functions of an object. Nested objects are parts of names: `{ demo: { add } }` is `demo.add`. */
  registerAll(procedures: ProcedureTree): void
  /**
   * Publishes to all clients on all nodes that listen to the topic. Publishes of a synchronous procedure follow its reply, if
   * the client's outbox has room.
   *
   * @throws TypeError for a topic that official clients ignore, or data that msgpack cannot encode.
   */
  publish(topic: string, data: unknown, audience?: PublishAudience): void
  /** Returns the bytes unchanged, as in wslink (Python): replies and publishes accept bytes anywhere in a value. */
  attachment<T extends ArrayBuffer | ArrayBufferView>(bytes: T): T
  /** Adds a hook that authenticates clients instead of the secret. */
  validate(hook: Validate): void
  /**
   * Adds a hook for subscriptions; it refuses one by throwing. This does not protect a topic: clients that never subscribe get
   * all topics, unless a guard's `permit` forbids it.
   */
  onSubscribe(hook: OnSubscribe): void
  /** Adds a hook for admitted clients. */
  onConnect(hook: (client: Client) => Awaitable<void>): void
  /** Adds a hook for admitted clients that have disconnected. */
  onClose(hook: (client: Client, closed: Closed) => Awaitable<void>): void
  /** The client of the running call; only until the procedure awaits. */
  readonly caller: Client | undefined
}

declare module 'filtered-websocket' {
  /** Types of procedures, for `register`: `interface WslinkProcedures { 'demo.add': (a: number, b: number) => number }`. */
  interface WslinkProcedures {}
  interface FilterApis {
    wslink: WslinkApi
  }
}

/** The maximum frame of wslink (Python), and a few queued images per client. */
export const limits = { 'max-payload': 4 * 1024 * 1024, 'max-buffered': 16 * 1024 * 1024 }

/** Milliseconds an unfinished message may be idle, plus the time of one frame on a slow line, in bytes per millisecond. */
const IDLE_LIMIT = 30_000
const SLOW_LINE = 64

/** Milliseconds between checks for idle messages. */
const CHECK_INTERVAL = 5000

/** Remote procedure calls and topics for clients of wslink 1.x and 2.x. Treats all WebSocket clients as such. */
export const setup = ({ name, options: chosen, limits: inForce, guards, log, every }: Host<typeof options>) => {
  let hasWarned = false
  checkOptions(chosen)
  const maxJson = chosen['wslink-max-json']
  const sessions = new Map<Client, Session>()
  const onConnect: ((client: Client) => Awaitable<void>)[] = []
  const onClose: ((client: Client, closed: Closed) => Awaitable<void>)[] = []
  const onError = (error: unknown) => log.error({ err: error }, 'wslink failed')
  const subscriptions = new Subscriptions(client => sessions.get(client)!)
  const procedures = new Procedures()
  const publisher = new Publisher((client, topic) => sessions.get(client)?.interests?.get(topic), onError)
  const codecs = new Codecs(chosen['wslink-topic'])
  const rules = {
    secret: chosen['wslink-secret'],
    isOpen: chosen['wslink-open'],
    isGuarded: guards.includes('jwt'),
  }
  const authenticator = new Authenticator(rules, error =>
    log.warn({ err: error }, 'authentication failed with an error'),
  )
  const exit = exitProcedures(() => (chosen['wslink-exit'] ? publisher.server : undefined))
  procedures.registerAll({
    application: exit.procedures,
    wslink: subscriptions.proceduresFor(() => procedures.caller!),
  })

  const service: Service = {
    protocols: { text: new ProtocolV1(maxJson), binary: new ProtocolV2(inForce['max-payload'], maxJson) },
    codecs,
    authenticator,
    // Level debug, since clients can cause any number of errors.
    calls: new Calls(procedures, publisher, chosen['wslink-debug'], (error, method) =>
      log.debug({ err: error, method }, 'procedure failed'),
    ),
    limits: {
      hello: chosen['wslink-max-hello'],
      message: chosen['wslink-max-message'],
      pending: chosen['wslink-pending'],
      buffered: inForce['max-buffered'],
      // The filter sees a frame only when it is complete.
      idle: IDLE_LIMIT + 1000 * Math.ceil(inForce['max-payload'] / SLOW_LINE / 1000),
    },
    onReady: client => runAll(onConnect, hook => hook(client)),
    onError,
  }

  const recheck = (client: Client) => sessions.get(client)?.rechecked()

  every(CHECK_INTERVAL, () => {
    for (const session of sessions.values()) session.check(performance.now())
  })

  const api: WslinkApi = {
    register: (name, procedure) => procedures.register(name, procedure as Procedure),
    registerAll: tree => procedures.registerAll(tree),
    publish: (topic, data, audience) => publisher.publish(topic, data, audience),
    attachment: bytes => bytes,
    validate: hook => authenticator.add(hook),
    onSubscribe: hook => subscriptions.add(hook),
    onConnect: hook => void onConnect.push(hook),
    onClose: hook => void onClose.push(hook),
    get caller() {
      return procedures.caller
    },
  }

  return {
    connect(client: Client) {
      if (client.handshake?.kind !== 'websocket') return
      if (client.codec.name !== 'plain') {
        if (!hasWarned) log.warn({ protocol: client.codec.name }, 'clients skipped: another filter set their codec')
        hasWarned = true
        return
      }
      client.codec = codecs.before
      client.hold()
    },

    open(client: Client) {
      if (client.codec !== codecs.before) return
      sessions.set(client, new Session(client, service))
      client.onIdentity(recheck)
    },

    message(payload: Payload, client: Client): Drop | Promise<Drop> | undefined {
      return sessions.get(client)?.message(payload)
    },

    disconnect(client: Client, closed: Closed): Awaitable<void> {
      const session = sessions.get(client)
      if (session === undefined) return
      sessions.delete(client)
      session.close()
      if (session.isReady) return runAll(onClose, hook => hook(client, closed))
    },

    start(server: Server) {
      if (!authenticator.isPossible) {
        const ways = 'set --wslink-secret, put jwt before it, or set --wslink-open'
        throw optionError(`no client can authenticate: ${ways}`)
      }
      if (chosen['wslink-topic'] !== undefined) checkOrder(server, name, guards)
      publisher.server = server
    },

    stop: () => exit.cancel(),

    api,
  }
}

/** A filter before wslink would broadcast the raw frames of clients, including their secrets. */
function checkOrder({ handlers }: Server, name: string, guards: readonly string[]): void {
  const order = handlers.filter(({ chain }) => chain === 'message').map(({ filter }) => filter)
  const before = order.slice(0, Math.max(0, order.indexOf(name))).find(filter => !guards.includes(filter))
  if (before !== undefined)
    throw optionError(`with --wslink-topic, put wslink before ${before} in -f, which would broadcast raw frames`)
}

function checkOptions(chosen: Host<typeof options>['options']): void {
  const { 'wslink-secret': secret, 'wslink-topic': topic } = chosen
  if (secret !== undefined && chosen['wslink-open'])
    throw optionError('--wslink-open and --wslink-secret exclude each other; set one of them')
  if (topic !== undefined && !isTopic(topic))
    throw optionError(`--wslink-topic takes letters, digits and _ with single dots between them, received "${topic}"`)
}

/** Runs hooks in order; returns a promise only if a hook does. */
function runAll<H>(hooks: readonly H[], run: (hook: H) => Awaitable<void>): Awaitable<void> {
  for (const [i, hook] of hooks.entries()) {
    const pending = run(hook)
    if (pending !== undefined) return Promise.resolve(pending).then(() => runAll(hooks.slice(i + 1), run))
  }
}
