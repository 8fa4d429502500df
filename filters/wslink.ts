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
import { Calls } from './wslink/calls.ts'
import { Codecs } from './wslink/codecs.ts'
import { isTopic } from './wslink/envelope.ts'
import { exitProcedures } from './wslink/exit.ts'
import { Hello, type Validate } from './wslink/hello.ts'
import { type Procedure, Procedures, type ProcedureTree } from './wslink/procedures.ts'
import { type PublishAudience, Publisher } from './wslink/publisher.ts'
import { type Service, Session } from './wslink/session.ts'
import { type OnSubscribe, Subscriptions } from './wslink/subscriptions.ts'
import { Generation1 } from './wslink/v1/generation.ts'
import { Generation2 } from './wslink/v2/generation.ts'

export const describe = 'Serve procedures and topics to clients of wslink 1.x and 2.x'

export const options = {
  'wslink-secret': { type: 'string', secret: true, describe: 'what clients must know to come in' },
  'wslink-open': { type: 'boolean', default: false, describe: 'let in everyone, whatever secret they give' },
  'wslink-max-hello': {
    type: 'number',
    default: 8192,
    min: 64,
    integer: true,
    describe: 'bytes of a message from a client that is not let in yet',
  },
  'wslink-max-message': {
    type: 'number',
    default: 128 * 1024 * 1024,
    min: 1024,
    integer: true,
    describe:
      'bytes of a message, of all that one client has begun to send (more closes 1009), and of its calls under way',
  },
  'wslink-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 64,
    integer: true,
    describe: 'Bytes of a message besides its byte arrays; more closes 1009',
  },
  'wslink-pending': {
    type: 'number',
    default: 128,
    min: 1,
    integer: true,
    describe: 'calls of one client that may be under way; further ones are not read until one has ended',
  },
  'wslink-topic': {
    type: 'string',
    describe: 'publish what other filters broadcast on this topic; default: not at all',
  },
  'wslink-exit': { type: 'boolean', default: false, describe: 'let clients stop the server, by application.exit' },
  'wslink-debug': { type: 'boolean', default: false, describe: 'tell clients where a procedure has thrown an error' },
} as const satisfies OptionSpecs

/** What `host.use('wslink')` gives. */
export interface WslinkApi {
  /** A procedure that clients may call; see `Procedure`. */
  register<N extends string>(
    name: N,
    procedure: N extends keyof WslinkProcedures ? WslinkProcedures[N] : Procedure,
  ): void
  /** Each function in an object; objects within it are parts of names: `{ demo: { add } }` is `demo.add`. */
  registerAll(procedures: ProcedureTree): void
  /**
   * To all clients of every node that listen to the topic. What a procedure publishes follows its answer, if it gives that
   * without having to wait for anything, and the client has room.
   *
   * @throws TypeError for a topic that official clients would not hear; whatever msgpack cannot say.
   */
  publish(topic: string, data: unknown, audience?: PublishAudience): void
  /** Bytes as they are: in the answers and publishes of this filter they stand wherever a value may. */
  attachment<T extends ArrayBuffer | ArrayBufferView>(bytes: T): T
  /** Says whether a client comes in; asked instead of the secret. */
  validate(hook: Validate): void
  /**
   * When a client says that it listens to a topic; one that throws refuses, which keeps nothing secret: who never said
   * anything hears everything, unless a guard's `permit` forbids.
   */
  onSubscribe(hook: OnSubscribe): void
  /** When a client has come in. */
  onConnect(hook: (client: Client) => Awaitable<void>): void
  /** When one that had come in has gone. */
  onClose(hook: (client: Client, closed: Closed) => Awaitable<void>): void
  /** Whose call is under way, until a procedure awaits something. */
  readonly caller: Client | undefined
}

declare module 'filtered-websocket' {
  /** Types of procedures, for `register`: `interface WslinkProcedures { 'demo.add': (a: number, b: number) => number }`. */
  interface WslinkProcedures {}
  interface FilterApis {
    wslink: WslinkApi
  }
}

/** A frame of the original; and some images that wait for one client. */
export const limits = { 'max-payload': 4 * 1024 * 1024, 'max-buffered': 16 * 1024 * 1024 }

/** Milliseconds in which a message goes on, beside those that its next frame takes on a slow line: bytes each. */
const PAUSE = 30_000
const SLOW_LINE = 64

/** Milliseconds between two looks at who has begun a message. */
const CHECK_EVERY = 5000

/** Remote procedure calls and topics, as wslink's clients of 1.x and 2.x speak them. Every WebSocket client is taken for one. */
export const setup = ({ name, options: chosen, limits: inForce, guards, log, every }: Host<typeof options>) => {
  let isToldOfOther = false
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
  const hello = new Hello(rules, error => log.warn({ err: error }, 'a hello could not be checked'))
  const exit = exitProcedures(() => (chosen['wslink-exit'] ? publisher.server : undefined))
  procedures.registerAll({
    application: exit.procedures,
    wslink: subscriptions.proceduresFor(() => procedures.caller!),
  })

  const service: Service = {
    generations: { text: new Generation1(maxJson), binary: new Generation2(inForce['max-payload'], maxJson) },
    codecs,
    hello,
    // Clients can have as many as they like, so no operator wants them all.
    calls: new Calls(procedures, publisher, chosen['wslink-debug'], (error, method) =>
      log.debug({ err: error, method }, 'procedure failed'),
    ),
    limits: {
      hello: chosen['wslink-max-hello'],
      message: chosen['wslink-max-message'],
      pending: chosen['wslink-pending'],
      buffered: inForce['max-buffered'],
      // A frame is seen when it is complete.
      pause: PAUSE + 1000 * Math.ceil(inForce['max-payload'] / SLOW_LINE / 1000),
    },
    onReady: client => runAll(onConnect, hook => hook(client)),
    onError,
  }

  const recheck = (client: Client) => sessions.get(client)?.rechecked()

  every(CHECK_EVERY, () => {
    for (const session of sessions.values()) session.check(performance.now())
  })

  const api: WslinkApi = {
    register: (name, procedure) => procedures.register(name, procedure as Procedure),
    registerAll: tree => procedures.registerAll(tree),
    publish: (topic, data, audience) => publisher.publish(topic, data, audience),
    attachment: bytes => bytes,
    validate: hook => hello.add(hook),
    onSubscribe: hook => subscriptions.add(hook),
    onConnect: hook => void onConnect.push(hook),
    onClose: hook => void onClose.push(hook),
    get caller() {
      return procedures.caller
    },
  }

  return {
    connect(client: Client) {
      if (client.codec.name !== 'plain') {
        if (!isToldOfOther) log.warn({ protocol: client.codec.name }, 'another filter takes these clients')
        isToldOfOther = true
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
      if (!hello.isPossible) {
        const ways = 'give --wslink-secret, put jwt before it, or say --wslink-open for everyone'
        throw optionError(`wslink would let nobody in: ${ways}`)
      }
      if (chosen['wslink-topic'] !== undefined) checkOrder(server, name, guards)
      publisher.server = server
    },

    stop: () => exit.cancel(),

    api,
  }
}

/** What such a filter broadcasts would be the frames of these clients, their secrets among them, to all others. */
function checkOrder({ handlers }: Server, name: string, guards: readonly string[]): void {
  const behind = handlers.filter(({ chain }) => chain === 'message').map(({ filter }) => filter)
  const before = behind.slice(0, Math.max(0, behind.indexOf(name))).find(filter => !guards.includes(filter))
  if (before !== undefined)
    throw optionError(`with --wslink-topic, wslink stands before ${before} in -f, which would send frames as they are`)
}

function checkOptions(chosen: Host<typeof options>['options']): void {
  const { 'wslink-secret': secret, 'wslink-topic': topic } = chosen
  if (secret !== undefined && chosen['wslink-open'])
    throw optionError('--wslink-open asks for no secret, and --wslink-secret for one: give one of the two')
  if (topic !== undefined && !isTopic(topic))
    throw optionError(`--wslink-topic takes letters, digits and _ with single dots between them, received "${topic}"`)
}

/** One after the other; without a promise as long as none gives one. */
function runAll<H>(hooks: readonly H[], run: (hook: H) => Awaitable<void>): Awaitable<void> {
  for (const [i, hook] of hooks.entries()) {
    const pending = run(hook)
    if (pending !== undefined) return Promise.resolve(pending).then(() => runAll(hooks.slice(i + 1), run))
  }
}
