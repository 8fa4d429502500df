import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { FAILED } from '../chain/chain.ts'
import { type Chains, handlersOf } from '../chain/chains.ts'
import { Fabric } from '../cluster/fabric.ts'
import { checkOrder, type Order } from '../cluster/order.ts'
import type {
  Admission,
  AppendOptions,
  Attached,
  Audience,
  Client,
  PublishOptions,
  Target,
  TrustedSource,
} from '../contract/client.ts'
import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { DROP, type Drop } from '../contract/drop.ts'
import { FwsError, shown } from '../contract/errors.ts'
import type { Publication } from '../contract/filter.ts'
import type { Checks, Counters, HandlerCounts } from '../contract/metrics.ts'
import type { ChainObserver } from '../contract/observer.ts'
import { checkFormat, checkPayload, isPayload, type Payload } from '../contract/payload.ts'
import type { Closed } from '../contract/peer.ts'
import type { Refusal } from '../contract/refusal.ts'
import type { Bus, Carrier } from '../contract/storage.ts'
import {
  type AppendOutcome,
  checkAppend,
  EVERYONE,
  type KeptTopic,
  type NewEntry,
  type Position,
  type ReadRange,
  type StreamPage,
  type TopicWatcher,
} from '../contract/streams.ts'
import type { Transport } from '../contract/transport.ts'
import { count } from '../fanout/counters.ts'
import { Fanout } from '../fanout/fanout.ts'
import type { Pieces } from '../fanout/pieces.ts'
import { Topic } from '../fanout/topic.ts'
import { Wires } from '../fanout/wire.ts'
import { type ClientHost, type Limits, ServerClient } from '../peer/client.ts'
import type { KeptTopics, KeptTopicsHost } from '../streams/kept-topics.ts'
import { Recoveries } from '../streams/recoveries.ts'

export interface HubHost {
  readonly chains: Chains
  readonly limits: Limits
  readonly counters: Counters
  readonly log: Logger
  /** `undefined` if the storage has none. */
  readonly bus: Bus | undefined
  /** `undefined` on a single node. */
  readonly carrier: Carrier | undefined
  /** Makes the kept topics of this node; `undefined` if no filter keeps topics. */
  readonly keepTopics: ((host: Omit<KeptTopicsHost, 'streams'>) => KeptTopics) | undefined
  /** UUID of this node. */
  readonly instance: string
  readonly checks: () => Checks
  readonly storageMetrics: () => Readonly<Record<string, number>>
  /** Whether new clients are accepted: false once the server stops. */
  readonly isAccepting: () => boolean
  stop(why: string, error: unknown): void
  admit(req: IncomingMessage, as: Admission): Promise<Client | Refusal>
  reportCodec(error: unknown, codec: string): void
  reportTransport(error: unknown, transport: string, id: string): void
}

/** The clients and topics of a node; implements the Server that filters see. */
export class Hub implements ClientHost {
  readonly clients = new Map<string, ServerClient>()
  /** Clients that are not open yet: in the connect chain, admitted or just attached; and those of requests, which never are. */
  readonly arriving = new Set<ServerClient>()
  readonly chains: Chains
  readonly limits: Limits
  readonly counters: Counters
  readonly log: Logger
  readonly fanout: Fanout
  readonly wires: Wires
  /** Connects the other nodes; `undefined` on a single node. */
  readonly fabric: Fabric | undefined
  /** Frames of missed entries. */
  readonly recoveries = new Recoveries()
  /** `undefined` if no filter keeps topics. */
  readonly kept: KeptTopics | undefined
  readonly #host: HubHost
  readonly #everyone = new Topic('everyone')
  readonly #topics = new Map<string, Topic>()
  /** Disconnected clients whose disconnect chain has not ended. */
  readonly #leaving = new Set<ServerClient>()
  #whenEmpty: (() => void)[] = []
  #hasWarned = false

  constructor(host: HubHost) {
    this.#host = host
    this.chains = host.chains
    this.limits = host.limits
    this.counters = host.counters
    this.log = host.log
    this.fanout = new Fanout(host.limits.maxBuffered)
    this.wires = new Wires((error, codec) => host.reportCodec(error, codec.name))
    const { carrier } = host
    if (carrier !== undefined) {
      const deliver = (name: string | undefined, payload: Payload, format?: string) => {
        const topic = this.#topicOf(name)
        if (topic !== undefined) this.fanout.broadcast(topic, payload, undefined, format)
        if (this.kept?.of(name ?? EVERYONE) !== undefined) this.#warnOfUnkept(name)
      }
      const execute = (order: Order) => this.#execute(order)
      this.fabric = new Fabric({ ...host, carrier, maxBytes: host.limits.maxBuffered, deliver, execute })
    }
    this.kept = host.keepTopics?.(this.#keptTopicsHost())
  }

  get ready(): boolean {
    return Object.values(this.checks).every(Boolean)
  }

  get checks(): Checks {
    return this.#host.checks()
  }

  get handlers(): readonly HandlerCounts[] {
    return handlersOf(this.chains)
  }

  get streamGauges(): Readonly<Record<string, number>> {
    return this.kept?.gauges() ?? {}
  }

  get storageMetrics(): Readonly<Record<string, number>> {
    return this.#host.storageMetrics()
  }

  observe(observer: ChainObserver): () => void {
    return this.chains.observers.add(observer)
  }

  broadcast(payload: Payload, to: Audience = {}): void {
    checkPayload('broadcast', payload)
    checkFormat(to.format)
    const { where, format } = to
    const kept = where === undefined && to.local !== true ? this.kept?.of(to.topic ?? EVERYONE) : undefined
    if (kept !== undefined) {
      // The caller may change its Buffer.
      this.kept!.broadcast(kept, { payload: copyOf(payload), format, except: to.except?.id })
      return
    }
    if (where === undefined && to.local !== true) this.fabric?.add(to.topic, payload, format)
    const topic = this.#topicOf(to.topic)
    if (topic === undefined) return
    if (where !== undefined) this.#broadcastWhere(topic, payload, where, to)
    else this.fanout.broadcast(topic, payload, (to.except as ServerClient | undefined)?.outbox, format)
  }

  async append(
    topic: string,
    entries: Payload | readonly NewEntry[],
    { when, set, key }: AppendOptions = {},
  ): Promise<AppendOutcome> {
    const kept = this.#keptOf('append', topic)
    checkAppend({ when, set, key })
    if (!isPayload(entries) && !Array.isArray(entries)) checkPayload('append', entries as never)
    const news = isPayload(entries) ? [{ payload: entries }] : entries
    for (const entry of news) {
      checkPayload('append', entry?.payload)
      checkFormat(entry.format)
    }
    const copies = news.map(entry => ({ ...entry, payload: copyOf(entry.payload) }))
    return this.kept!.append(kept, { entries: copies, when, set, key })
  }

  async read(topic: string, range: ReadRange): Promise<StreamPage> {
    const kept = this.#keptOf('read', topic)
    return this.kept!.read(kept, range)
  }

  async trim(topic: string, upTo: Position): Promise<void> {
    const kept = this.#keptOf('trim', topic)
    await this.kept!.trim(kept, upTo)
  }

  watch(topic: string, watcher: TopicWatcher): () => void {
    const kept = this.#keptOf('watch', topic)
    return this.kept!.watch(kept, watcher)
  }

  keeps(topic: string): boolean {
    return this.kept?.of(topic) !== undefined
  }

  publishTo(topic: string, payload: Payload, how: PublishOptions = {}): Promise<Position | Drop | undefined> {
    return this.publishFor(undefined, topic, payload, how)
  }

  /** Publishes for a client, or for the operator. */
  async publishFor(
    from: ServerClient | undefined,
    name: string,
    content: Payload,
    how: PublishOptions,
  ): Promise<Position | Drop | undefined> {
    const { key, except } = how
    checkPayload('publish', content)
    checkFormat(how.format)
    checkAppend({ key })
    if (typeof name !== 'string') throw new FwsError('ERR_STATE', `publish() takes a topic, received ${shown(name)}`)
    from?.checkPublish(name)
    // The caller may change its Buffer meanwhile.
    const publication = { topic: name, payload: copyOf(content), format: how.format }
    const outcome = await this.chains.publish.run(publication, from)
    if (outcome === DROP) return DROP
    if (outcome === FAILED) throw new FwsError('ERR_FILTER', 'a filter failed while it handled the message')
    const { topic, payload, format } = outcome as Publication
    const kept = this.kept?.of(topic)
    if (kept === undefined) {
      this.broadcast(payload, {
        ...(topic !== EVERYONE && { topic }),
        ...(format !== undefined && { format }),
        ...(except && { except }),
      })
      return undefined
    }
    const appended = await this.kept!.append(kept, {
      entries: [{ payload: copyOf(payload), format, except: except?.id }],
      key,
    })
    if ('position' in appended) return appended.position
    throw new FwsError('ERR_LIMIT', `topic ${JSON.stringify(topic.slice(0, 100))} is full`)
  }

  publish(channel: string, payload: Payload): Awaitable<void> {
    checkPayload('publish', payload)
    const { bus } = this.#host
    if (bus === undefined) throw new FwsError('ERR_STORAGE', 'publish() needs a storage with "bus"')
    const published = bus.publish(channel, payload)
    // A rejection that the caller does not await must not end the process.
    if (isPromise(published)) published.then(undefined, () => count(this.counters.drops, 'publish failed'))
    return published
  }

  disconnect(target: Target, code = 1000, reason = ''): void {
    this.#order({ target, code, reason })
  }

  unsubscribe(target: Target, topic: string): void {
    this.#order({ target, leave: topic })
  }

  #order(given: Order): void {
    const order = checkOrder(given)
    const execute = () => {
      const isLocal = 'id' in order.target && this.clients.has(order.target.id)
      if (!isLocal) this.fabric?.order(order)
      this.#execute(order)
    }
    // After everything that was sent before, which may be on its way to the storage.
    const settled = this.kept?.settled()
    if (settled === undefined) execute()
    else void settled.then(execute)
  }

  stop(why: string, error?: unknown): void {
    if (typeof why !== 'string') throw new FwsError('ERR_STATE', `stop() takes a reason, received ${shown(why)}`)
    this.#host.stop(why, error)
  }

  attach(transport: Transport, from?: Client | TrustedSource): Attached {
    if (!this.#host.isAccepting()) throw new FwsError('ERR_STATE', 'attach() while the server is stopping')
    const client =
      from instanceof ServerClient
        ? from.asStream(transport)
        : this.#newClient(transport, from as TrustedSource | undefined)
    client.openSoon(transport)
    return {
      client,
      receive: (payload, views) => client.receive(payload, undefined, views),
      settled: then => client.whenIdle(then),
      // Not synchronously: a transport may report it from within a write, in the middle of a flush.
      closed: (code, reason, clean) => queueMicrotask(() => client.closed(code, reason, clean)),
    }
  }

  admit(req: IncomingMessage, as: Admission): Promise<Client | Refusal> {
    return this.#host.admit(req, as)
  }

  /** Clients that use memory: not open yet, open, or disconnected with messages still in the chain. */
  get population(): number {
    return this.arriving.size + this.clients.size + this.#leaving.size
  }

  get isFull(): boolean {
    return this.population >= this.limits.maxClients
  }

  /** Whether the disconnect chain of a disconnected client has not ended. */
  isLeaving(client: ServerClient): boolean {
    return this.#leaving.has(client)
  }

  opened(client: ServerClient): void {
    this.clients.set(client.id, client)
    this.counters.opened++
  }

  joinAll(client: ServerClient): void {
    if (this.kept?.of(EVERYONE) === undefined) this.fanout.join(this.#everyone, client.outbox)
    else this.joinTopic(client, EVERYONE)
    for (const topic of client.topics) this.joinTopic(client, topic)
  }

  leaveAll(client: ServerClient): void {
    for (const topic of [...client.outbox.topics]) this.#leave(client, topic)
  }

  joinTopic(client: ServerClient, name: string): void {
    const kept = this.kept?.of(name)
    if (kept === undefined) {
      this.addMember(client, name)
      client.joinedUnkept(name)
    } else {
      this.kept!.join(kept, client.joins.joinerOf(kept))
    }
  }

  /** Makes the client a member now. */
  addMember(client: ServerClient, name: string): void {
    if (name === EVERYONE) {
      this.fanout.join(this.#everyone, client.outbox)
      return
    }
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new Topic(name, { topic: name })
      this.#topics.set(name, topic)
      this.fabric?.listen(name)
    }
    this.fanout.join(topic, client.outbox)
    this.chains.memberships?.joined(name, client)
  }

  leaveTopic(client: ServerClient, name: string): void {
    const topic = this.#topics.get(name)
    if (topic !== undefined) this.#leave(client, topic)
  }

  transportFailed(error: unknown, { transport, id }: Client): void {
    this.#host.reportTransport(error, transport, id)
  }

  /** Called when the connection has ended. */
  closed(client: ServerClient, label: number | string): void {
    this.leaveAll(client)
    this.clients.delete(client.id)
    this.#leaving.add(client)
    this.counters.closed++
    count(this.counters.closes, label)
  }

  /** Called when the chain has handled all messages of a closed client. */
  disconnected(client: ServerClient, closed: Closed): void {
    const outcome = client.route.disconnect.run(client, closed, undefined, client.after)
    if (isPromise(outcome)) (outcome as Promise<unknown>).then(() => this.#left(client))
    else this.#left(client)
  }

  /** Settles when all clients have disconnected and all disconnect chains have ended. */
  empty(): Promise<void> {
    if (this.clients.size === 0 && this.#leaving.size === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#whenEmpty.push(resolve)
    })
  }

  /** @param source - checked, since permits do not apply to it: a mistake, such as a refusal of `admit`, must not become one. */
  #newClient(transport: Transport, source: TrustedSource | undefined): ServerClient {
    if (source !== undefined && !Number.isInteger(source.after)) {
      const message = 'attach() takes a client of admit(), or a source with the order of a filter in "after"'
      throw new FwsError('ERR_STATE', `${message}, received ${shown(source)}`)
    }
    if (this.isFull) {
      const message = `attach() with ${this.population} clients, --max-clients is ${this.limits.maxClients}`
      throw new FwsError('ERR_LIMIT', message)
    }
    const client = new ServerClient(this, { remote: transport.remote, frame: transport.frame, source })
    this.arriving.add(client)
    return client
  }

  #leave(client: ServerClient, topic: Topic): void {
    const wasMember = this.fanout.leave(topic, client.outbox)
    if (topic.members.size === 0) {
      if (topic !== this.#everyone) {
        this.#topics.delete(topic.name)
        this.fabric?.ignore(topic.name)
      }
      this.kept?.release(topic === this.#everyone ? EVERYONE : topic.name)
    }
    if (wasMember && topic !== this.#everyone) this.chains.memberships?.left(topic.name, client)
  }

  #keptOf(operation: string, topic: string): KeptTopic {
    const kept = typeof topic === 'string' ? this.kept?.of(topic) : undefined
    if (kept !== undefined) return kept
    const why = this.kept === undefined ? 'no filter keeps topics' : `topic ${shown(topic)} is not kept`
    throw new FwsError('ERR_STATE', `${operation}() needs a kept topic; ${why}: see -f streams`)
  }

  #keptTopicsHost(): Omit<KeptTopicsHost, 'streams'> {
    const nameOf = (topic: string) => (topic === EVERYONE ? undefined : topic)
    return {
      instance: this.#host.instance,
      totals: this.counters.streams,
      drops: this.counters.drops,
      log: this.log,
      retain: topic => this.chains.retentions.of(topic),
      deliver: (name, { payload, format, except }, position) => {
        const topic = this.#topicOf(nameOf(name))
        if (topic === undefined) return
        const left = except === undefined ? undefined : this.clients.get(except)?.outbox
        this.fanout.broadcast(topic, payload, left, format, position && { topic: name, position })
      },
      lose: (name, position, reason) => {
        const topic = this.#topicOf(nameOf(name))
        if (topic !== undefined)
          this.fanout.broadcast(topic, '', undefined, undefined, { topic: name, position }, reason)
      },
      hasMembers: name => (this.#topicOf(nameOf(name))?.members.size ?? 0) > 0,
    }
  }

  /** Once: the nodes do not keep the same topics. */
  #warnOfUnkept(topic: string | undefined): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    this.log.warn({ topic }, 'another node does not keep a topic that this node keeps: its messages have no position')
  }

  #left(client: ServerClient): void {
    this.#leaving.delete(client)
    if (this.clients.size > 0 || this.#leaving.size > 0) return
    for (const resolve of this.#whenEmpty.splice(0)) resolve()
  }

  #topicOf(name: string | undefined): Topic | undefined {
    return name === undefined ? this.#everyone : this.#topics.get(name)
  }

  #execute(order: Order): void {
    const { target } = order
    const isTarget = (client: ServerClient) => {
      if ('topic' in target) return client.topics.has(target.topic)
      return (!('id' in target) || client.id === target.id) && (!('sub' in target) || client.identity === target.sub)
    }
    const one = 'id' in target ? this.clients.get(target.id) : undefined
    const candidates = one === undefined ? [...this.arriving, ...this.clients.values()] : [one]
    for (const client of candidates) {
      if (!isTarget(client)) continue
      if ('leave' in order) client.leave(order.leave, 'unsubscribed')
      else client.disconnect(order.code, order.reason)
    }
  }

  #broadcastWhere(
    topic: Topic,
    payload: Payload,
    where: (client: Client) => boolean,
    { except, format }: Audience,
  ): void {
    const encodings = new Map<unknown, Buffer | Pieces>()
    for (const client of this.clients.values()) {
      if (client === except || !topic.members.has(client.outbox) || !where(client)) continue
      const { wire } = client.outbox
      let encoded = encodings.get(wire)
      if (encoded === undefined) {
        encoded = wire.encode(payload, format, topic.about)
        encodings.set(wire, encoded)
      }
      client.sendEncoded(encoded)
    }
  }
}

function copyOf(payload: Payload): Payload {
  return typeof payload === 'string' ? payload : Buffer.from(payload)
}
