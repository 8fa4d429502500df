import { randomUUID } from 'node:crypto'
import type { Client, Host, Retention, Server, Storage } from 'filtered-websocket'
import { IdempotencyStore, Leases, optionError, type RateLimitedLog } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { options } from '../options.ts'
import type { Handlers } from '../rpc/handlers.ts'
import { Incarnation } from '../rpc/incarnation.ts'
import { PeerCalls } from '../rpc/peer-calls.ts'
import { Refused } from '../rpc/refused.ts'
import { MAX_ID, type Session } from '../rpc/session.ts'
import type { Kwargs } from '../wire/message.ts'
import { Link } from './link.ts'
import { Peers } from './peers.ts'
import { Present } from './present.ts'
import { Queue } from './queue.ts'
import { RollCall } from './roll-call.ts'

const RESUME = 'fws.resume'
/** Requests and actions with ids that a peer, or the server towards it, may have unanswered. */
const WINDOW = 1000
const EPOCH = /^[\w-]{1,64}$/
/** Parts of a time after which what must not end with it is renewed. */
const PARTS = 3
/** Milliseconds in which each peer is looked at for what nobody was told of. */
const LOOK = 5000
/** A peer's turn comes once in so many looks. */
const LOOK_PARTS = 10

/** Peers that come back: who they are, what has been done for them, and what is kept for them. */
export class Resumption {
  readonly peers: Peers
  readonly #sessions: ReadonlyMap<Client, Session>
  readonly #leases: Leases
  readonly #records: IdempotencyStore
  #server: Server | undefined
  readonly #host: Host<typeof options>

  private constructor(host: Host<typeof options>, sessions: ReadonlyMap<Client, Session>, limitedLog: RateLimitedLog) {
    const { options: chosen, log } = host
    const storage = storageOf(host)
    this.#sessions = sessions
    this.#host = host
    const node = randomUUID()
    const failed = (err: unknown) => limitedLog.add('error', { err }, 'the storage of messaging failed', 'storage')
    this.#leases = new Leases(storage.values, 'messaging:node', node, chosen['messaging-lease'] * 1000)
    this.#records = new IdempotencyStore({
      prefix: '@messaging-done/',
      server: () => this.#server!,
      nodes: { id: node, isOwn: id => id === node, isDead: async id => !(await this.#leases.isAlive(id)) },
      window: WINDOW,
      rememberMs: chosen['messaging-remember'] * 1000,
      maxBytes: chosen['messaging-remember-bytes'],
      maxSenders: chosen['messaging-max-peers'],
      failed,
    })
    const limits = {
      maxCount: chosen['messaging-queue'],
      maxBytes: chosen['messaging-queue-bytes'],
      maxAgeMs: chosen['messaging-queue-age'] * 1000,
      maxPeers: chosen['messaging-max-peers'],
    }
    const queue = new Queue(storage, limits, log)
    const present = new Present()
    const link = new Link(storage, node, failed)
    const calls = new PeerCalls(present, link, chosen['messaging-max-calls'])
    const rollCall = new RollCall({ link, node, sessions, sets: storage.sets, failed })
    this.peers = new Peers({
      queue,
      present,
      link,
      leases: this.#leases,
      calls,
      rollCall,
      window: WINDOW,
      maxAgeMs: limits.maxAgeMs,
      failed,
      refused: (peer, name, why) => limitedLog.add('warn', { peer, why }, `a peer could not do ${shown(name)}`),
    })
  }

  /**
   * Answers `fws.resume`, with an error unless `--messaging-resume` is given: then there is nothing else of it.
   *
   * @throws Error `ERR_OPTION`: the storage cannot keep what has to be kept.
   */
  static of(
    host: Host<typeof options>,
    handlers: Handlers,
    sessions: ReadonlyMap<Client, Session>,
    limitedLog: RateLimitedLog,
  ): Resumption | undefined {
    if (!host.options['messaging-resume']) {
      handlers.builtIn(RESUME, () => {
        throw new Refused('off', 'nothing is kept for those who come back here')
      })
      return undefined
    }
    const resumption = new Resumption(host, sessions, limitedLog)
    handlers.builtIn(RESUME, (client, _args, kwargs) => resumption.#resume(client, kwargs))
    return resumption
  }

  /** The `retain` handler. */
  retain(topic: string): Retention | undefined {
    return this.#records.retain(topic)
  }

  /** @throws (rejects) Error when the storage does not answer */
  async start(server: Server): Promise<void> {
    this.#server = server
    const { every, options: chosen } = this.#host
    await this.#leases.renew()
    await this.peers.start()
    every((chosen['messaging-lease'] * 1000) / PARTS, async () => void (await this.#leases.renew()))
    every((chosen['messaging-remember'] * 1000) / PARTS, () => this.#records.sweep())
    let look = 0
    every(LOOK / LOOK_PARTS, () => this.peers.lookAgain(look++ % LOOK_PARTS, LOOK_PARTS))
    every((chosen['messaging-queue-age'] * 1000) / PARTS, () => this.peers.sweep())
  }

  async stop(): Promise<void> {
    await this.peers.stop()
  }

  /** A client has told its id. Whoever says one that is another's gets nothing that is kept for that. */
  known(session: Session, id: string): void {
    if (mayBe(session.client, id)) this.peers.enter(id, session)
  }

  left(session: Session): void {
    session.incarnation?.leave()
    this.peers.leave(session)
  }

  #resume(client: Client, { id, epoch }: Kwargs): { readonly window: number } {
    const session = this.#sessions.get(client)!
    if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
      throw new Refused('id', `an id is a string of 1 to ${MAX_ID} characters, received ${shown(id)}`)
    if (typeof epoch !== 'string' || !EPOCH.test(epoch))
      throw new Refused('epoch', `an epoch is 1 to 64 letters, digits, - and _, received ${shown(epoch)}`)
    if (!mayBe(client, id))
      throw new Refused('forbidden', `${shown(client.identity)} may be itself, or a name that begins with it and a /`)
    const known = client.state.messaging?.id
    if (session.incarnation !== undefined || (known !== undefined && known !== id))
      throw new Refused('refused', `this connection is ${shown(known)} already`)
    session.incarnation = new Incarnation(this.#records.enter(id, epoch), epoch)
    if (known === undefined) void session.setId(id)
    // It was taken for one that answers no actions.
    else this.peers.enter(id, session)
    return { window: WINDOW }
  }
}

/** Who has proven who it is may be that, and what belongs to it. */
function mayBe({ identity }: Client, id: string): boolean {
  return identity === undefined || id === identity || id.startsWith(`${identity}/`)
}

type Needed = Pick<Storage, 'values' | 'history' | 'bus' | 'streams'> & { readonly sets: Storage['sets'] | undefined }

/** @throws Error `ERR_OPTION` */
function storageOf({ storage, options: chosen }: Host<typeof options>): Needed {
  let found: Needed
  try {
    const { values, history, bus, streams } = storage
    found = { values, history, bus, streams, sets: setsOf(storage) }
  } catch (cause) {
    throw optionError('--messaging-resume needs a storage with values, history, bus and streams, such as memory', cause)
  }
  const { entries } = found.history
  const wanted = chosen['messaging-queue']
  if (entries !== undefined && entries < wanted)
    throw optionError(
      `--messaging-queue ${wanted} is more than the ${entries} entries that the storage keeps of a history`,
    )
  return found
}

/** Without them a node does not know of the others, and asks its own clients only. */
function setsOf(storage: Storage): Storage['sets'] | undefined {
  try {
    return storage.sets
  } catch {
    return undefined
  }
}
