import type { StreamPage } from 'filtered-websocket'
import type { Session } from '../rpc/session.ts'
import type { Response } from '../wire/message.ts'
import type { PeersContext } from './context.ts'
import { DeliveryWorker, type PeerConnection, type SentMark } from './delivery-worker.ts'
import { queueOf } from './queues.ts'

/** Reads only the positions and the attributes. */
const NO_ENTRIES = { from: 'oldest', entries: 0, bytes: 0 } as const
/** Milliseconds until the storage is tried again. */
const RETRY_MS = 2000

/** Sends a call to the active connection. */
type Route = (active: string) => void

/**
 * A peer as this node sees it: its connections here, and which connection on any node is active.
 *
 * The attribute `active` of the queue is `NODE/CLIENT`, the connection that gets the actions. The latest one sets it unconditionally. If it
 * is missing, or names a connection that has ended or whose node is dead, others set it by compare and set.
 */
export class LocalPeer {
  readonly id: string
  readonly #context: PeersContext
  readonly #topic: string
  readonly #unwatch: () => void
  /** Of the calls that wait. */
  readonly #routes = new Set<Route>()
  /** In the order in which they came. */
  #connections: PeerConnection[] = []
  /** The connection that is to become active. */
  #entering: PeerConnection | undefined
  #active: string | undefined
  #worker: DeliveryWorker | undefined
  readonly #sentMark: SentMark = { position: undefined }
  #running: Promise<void> | undefined
  /** Changes that `#look` has to handle. */
  #changes = 0
  #retry: NodeJS.Timeout | undefined

  constructor(id: string, context: PeersContext) {
    this.id = id
    this.#context = context
    this.#topic = queueOf(id)
    this.#unwatch = context.server.watch(this.#topic, { changed: () => this.#wake() })
  }

  /** Its latest connection to this node. */
  get session(): Session | undefined {
    return this.#connections.at(-1)?.session
  }

  get isUsed(): boolean {
    const isBusy = this.#running !== undefined || this.#retry !== undefined
    return isBusy || this.#routes.size > 0 || this.#connections.length > 0
  }

  /** A connection comes, or begins to answer actions. */
  enter(session: Session, answers: boolean): void {
    this.#remove(session)
    this.#entering = { session, answers }
    this.#connections.push(this.#entering)
    session.delivery = this
    // Calls need not wait for the storage.
    this.#setActive(this.#nameOf(this.#entering))
    this.#wake()
  }

  leave(session: Session): void {
    this.#remove(session)
    this.#wake()
  }

  /** Whether an action waited for this answer of a connection. */
  answered(session: Session, answer: Response): boolean {
    const worker = this.#worker
    if (worker?.connection.session !== session) return false
    const wasFull = worker.wanted === undefined
    if (!worker.answered(answer)) return false
    worker.trim().catch(error => this.#failed(error))
    if (wasFull) this.#wake()
    return true
  }

  /** @param route - called with the active connection, and with each one that becomes active. */
  addCall(route: Route): void {
    this.#routes.add(route)
    if (this.#active !== undefined) route(this.#active)
  }

  removeCall(route: Route): void {
    this.#routes.delete(route)
  }

  /** Nodes may have died, or this one may have a new id. */
  nodesChanged(): void {
    if (this.#isStale(this.#active)) this.#wake()
  }

  /** Settles when the storage has all changes so far. */
  async stop(): Promise<void> {
    clearTimeout(this.#retry)
    this.#worker?.stop()
    this.#unwatch()
    await this.#running
  }

  #wake(): void {
    this.#changes++
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    try {
      for (let handled = -1; handled !== this.#changes; ) {
        handled = this.#changes
        await this.#look()
      }
    } catch (error) {
      this.#failed(error)
    }
    this.#running = undefined
  }

  #failed(error: unknown): void {
    this.#context.failed(error)
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      this.#wake()
    }, RETRY_MS).unref()
  }

  /** Reads the queue once, and follows its attributes. */
  async #look(): Promise<void> {
    const { server } = this.#context
    const handled = this.#changes
    const entering = this.#entering
    if (entering !== undefined) {
      await server.append(this.#topic, [], { set: { active: this.#nameOf(entering) } })
      if (this.#entering === entering) this.#entering = undefined
    }
    const worker = this.#worker
    await worker?.trim()
    const wanted = worker?.wanted
    const page = await server.read(this.#topic, wanted ?? NO_ENTRIES)
    // Another connection has come meanwhile.
    if (this.#entering !== undefined) return
    const { active } = page.attributes
    const connection = this.#connectionOf(active)
    if (this.#isStale(active)) {
      await this.#claim(active, connection ?? this.#connections.at(-1))
      return
    }
    this.#setActive(active)
    if (worker?.connection !== connection) this.#deliverTo(connection)
    else if (wanted !== undefined) void this.#deliver(worker!, page, handled)
  }

  async #deliver(worker: DeliveryWorker, page: StreamPage, handled: number): Promise<void> {
    try {
      const isReady = await worker.send(page)
      // No entries were read for the changes meanwhile.
      if (isReady || handled !== this.#changes) this.#wake()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Makes another connection, or none, the active one, unless the active one has changed. */
  async #claim(active: string | undefined, next: PeerConnection | undefined): Promise<void> {
    const set = { active: next === undefined ? null : this.#nameOf(next) }
    await this.#context.server.append(this.#topic, [], { when: { active: active ?? null }, set })
    this.#changes++
  }

  #deliverTo(connection: PeerConnection | undefined): void {
    this.#worker?.stop()
    this.#worker = connection && new DeliveryWorker(connection, this.id, this.#topic, this.#sentMark, this.#context)
    this.#changes++
  }

  /** Whether the attribute names no connection that can get actions, and this node may change it. */
  #isStale(active: string | undefined): boolean {
    const { registry } = this.#context
    if (active === undefined) return this.#connections.length > 0
    const [node] = partsOf(active)
    if (registry.isOwn(node)) return node !== registry.id || this.#connectionOf(active) === undefined
    return this.#connections.length > 0 && registry.isDead(node)
  }

  #setActive(active: string | undefined): void {
    this.#active = active
    if (active !== undefined) for (const route of this.#routes) route(active)
  }

  #remove(session: Session): void {
    this.#connections = this.#connections.filter(connection => connection.session !== session)
    if (this.#entering?.session === session) this.#entering = undefined
    if (this.#worker?.connection.session === session) this.#deliverTo(undefined)
  }

  #nameOf({ session }: PeerConnection): string {
    return `${this.#context.registry.id}/${session.client.id}`
  }

  #connectionOf(active: string | undefined): PeerConnection | undefined {
    const client = active && partsOf(active)[1]
    return this.#connections.find(({ session }) => session.client.id === client)
  }
}

/** The node and the client in `NODE/CLIENT`; neither contains a slash. */
export function partsOf(active: string): readonly [node: string, client: string] {
  const [node = '', client = ''] = active.split('/')
  return [node, client]
}
