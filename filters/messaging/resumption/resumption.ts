import { type Client, FwsError, type Host, type Retention, type Server, type Storage } from 'filtered-websocket'
import { IdempotencyStore, NodeCalls, NodeRegistry, optionError, type RateLimitedLog } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { options } from '../options.ts'
import { type NodeQuestion, Peers } from '../peers/peers.ts'
import { Queues } from '../peers/queues.ts'
import { type Handlers, Refused } from '../rpc/handlers.ts'
import { MAX_ID, type Session } from '../rpc/session.ts'
import type { Kwargs } from '../wire/message.ts'

const RESUME = 'fws.resume'
/** Requests and actions with ids that a peer, or the server towards it, may have unanswered. */
const WINDOW = 1000
const EPOCH = /^[\w-]{1,64}$/
/** Checks in the lifetime of a lease or a record. */
const PARTS = 3
/** Guards that authenticate no client. All others may. */
const WITHOUT_IDENTITY = ['allow', 'rate-limit']
/** Milliseconds between two removals of unused peers. */
const SWEEP_MS = 10_000

/** Peers that reconnect: their ids, the records of their messages, and their queues. */
export class Resumption {
  readonly peers: Peers
  readonly #host: Host<typeof options>
  readonly #sessions: ReadonlyMap<Client, Session>
  readonly #queues: Queues
  readonly #registry: NodeRegistry
  readonly #nodes: NodeCalls
  readonly #records: IdempotencyStore
  readonly #failed: (error: unknown) => void
  #server: Server | undefined

  private constructor(host: Host<typeof options>, sessions: ReadonlyMap<Client, Session>, limitedLog: RateLimitedLog) {
    const { options: chosen } = host
    const { values, sets, bus } = storageOf(host)
    this.#host = host
    this.#sessions = sessions
    const failed = (err: unknown) => limitedLog.add('error', { err }, 'the storage of messaging failed', 'storage')
    this.#failed = failed
    const leaseMs = chosen['messaging-lease'] * 1000
    this.#registry = new NodeRegistry({
      values,
      sets,
      prefix: 'messaging',
      deadAfterMs: leaseMs,
    })
    this.#records = new IdempotencyStore({
      prefix: '@messaging-done/',
      server: () => this.#started(),
      nodes: this.#registry,
      window: WINDOW,
      rememberMs: chosen['messaging-remember'] * 1000,
      maxBytes: chosen['messaging-remember-bytes'],
      maxSenders: chosen['messaging-max-peers'],
      failed,
    })
    this.#nodes = new NodeCalls({
      bus,
      sets,
      registry: this.#registry,
      prefix: 'messaging',
      answer: question => this.peers.answer(question as NodeQuestion),
    })
    const bounds = {
      size: chosen['messaging-queue'],
      bytes: chosen['messaging-queue-bytes'],
      ttlMs: chosen['messaging-queue-age'] * 1000,
    }
    this.#queues = new Queues(bounds, chosen['messaging-max-peers'])
    const server = () => this.#started()
    this.peers = new Peers({
      get server() {
        return server()
      },
      registry: this.#registry,
      nodes: this.#nodes,
      queues: this.#queues,
      sessions,
      window: WINDOW,
      maxCalls: chosen['messaging-max-calls'],
      refused: (peer, name, why) => limitedLog.add('warn', { peer, why }, `a peer has refused ${shown(name)}`),
      expired: (peer, dropped) => limitedLog.add('warn', { peer, dropped }, 'queued actions have expired', 'expired'),
      failed,
    })
  }

  /**
   * Answers `fws.resume`; with an error, and with no other effect, unless `--messaging-resume` is given.
   *
   * @throws Error `ERR_OPTION`: the storage lacks a capability.
   */
  static of(
    host: Host<typeof options>,
    handlers: Handlers,
    sessions: ReadonlyMap<Client, Session>,
    limitedLog: RateLimitedLog,
  ): Resumption | undefined {
    if (!host.options['messaging-resume']) {
      handlers.builtIn(RESUME, () => {
        throw new Refused('off', 'this server runs without --messaging-resume')
      })
      return undefined
    }
    const resumption = new Resumption(host, sessions, limitedLog)
    handlers.builtIn(RESUME, (client, _args, kwargs) => resumption.#resume(client, kwargs))
    return resumption
  }

  /** The `retain` handler. */
  retain(topic: string): Retention | undefined {
    return this.#queues.retain(topic) ?? this.#records.retain(topic)
  }

  /** @throws (rejects) Error: the storage does not answer. */
  async start(server: Server): Promise<void> {
    const { every, options: chosen } = this.#host
    this.#server = server
    await this.#registry.start()
    await this.#nodes.start()
    const leaseMs = chosen['messaging-lease'] * 1000
    // The lease of the registry is half of that.
    every(leaseMs / 2 / PARTS, () => this.#registry.look().catch(this.#failed))
    // This node may have a new id, and others may have died.
    every(leaseMs / 2 / PARTS, () => this.#nodes.start().catch(this.#failed))
    every(leaseMs / 2 / PARTS, () => this.peers.nodesChanged())
    every((chosen['messaging-remember'] * 1000) / PARTS, () => this.#records.sweep())
    every(SWEEP_MS, () => this.peers.sweep())
  }

  async stop(): Promise<void> {
    await this.peers.stop()
    await this.#nodes.stop()
    await this.#registry.stop()
  }

  /** A client has sent its id. One that is not its own has no effect. */
  known(session: Session, id: string): void {
    if (this.#mayBe(session.client, id)) this.peers.enter(id, session, session.incarnation !== undefined)
  }

  left(session: Session): void {
    session.incarnation?.sender.leave()
    const id = session.client.state.messaging?.id
    if (id !== undefined) this.peers.leave(id, session)
  }

  #started(): Server {
    if (this.#server !== undefined) return this.#server
    throw new FwsError('ERR_STATE', 'peer() before the start of filter messaging')
  }

  #resume(client: Client, { id, epoch }: Kwargs): { readonly window: number } {
    const session = this.#sessions.get(client)!
    if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
      throw new Refused('id', `an id is a string of 1 to ${MAX_ID} characters, received ${shown(id)}`)
    if (typeof epoch !== 'string' || !EPOCH.test(epoch))
      throw new Refused('epoch', `an epoch is 1 to 64 letters, digits, - and _, received ${shown(epoch)}`)
    const { identity } = client
    if (!this.#mayBe(client, id))
      throw new Refused(
        'forbidden',
        identity === undefined
          ? 'a client without an identity may not have an id; send a token with "sub", or the like'
          : `${shown(identity)} may be itself, or a name that begins with it and a /`,
      )
    const known = client.state.messaging?.id
    if (session.incarnation !== undefined || (known !== undefined && known !== id))
      throw new Refused('refused', `this connection is ${shown(known)} already`)
    session.incarnation = { epoch, sender: this.#records.enter(id, epoch) }
    if (known === undefined) void session.setId(id)
    // It has answered its id before, like a peer of clever-show, which answers no actions.
    else this.peers.enter(id, session, true)
    return { window: WINDOW }
  }

  /**
   * A client may have its identity as id, and ids that begin with it and a slash. One without an identity may have any id if no guard
   * authenticates clients, or if it is a TCP peer, which passes no guard.
   */
  #mayBe({ identity, handshake, state }: Client, id: string): boolean {
    if (identity !== undefined) return id === identity || id.startsWith(`${identity}/`)
    const isGuarded = this.#host.guards.some(guard => !WITHOUT_IDENTITY.includes(guard))
    return handshake === undefined || !(isGuarded || state.certificate !== undefined)
  }
}

/** @throws Error `ERR_OPTION` */
function storageOf({ storage }: Host<typeof options>): Storage {
  try {
    const { values, sets, bus, streams } = storage
    return { values, sets, bus, streams } as Storage
  } catch (cause) {
    throw optionError('--messaging-resume needs a storage with values, sets, bus and streams, such as memory', cause)
  }
}
