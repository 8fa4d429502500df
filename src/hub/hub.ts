import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { type Chains, handlersOf } from '../chain/chains.ts'
import { checkOrder, type DisconnectOrder } from '../cluster/disconnect-order.ts'
import { Fabric } from '../cluster/fabric.ts'
import type { Admission, Attached, Audience, Client, Target, TrustedSource } from '../contract/client.ts'
import { type Awaitable, isPromise } from '../contract/deadline.ts'
import { FwsError, shown } from '../contract/errors.ts'
import type { Checks, Counters, HandlerCounts } from '../contract/metrics.ts'
import { checkFormat, checkPayload, type Payload } from '../contract/payload.ts'
import type { Closed } from '../contract/peer.ts'
import type { Refusal } from '../contract/refusal.ts'
import type { Bus, Carrier } from '../contract/storage.ts'
import type { Transport } from '../contract/transport.ts'
import { count } from '../fanout/counters.ts'
import { Fanout } from '../fanout/fanout.ts'
import type { Pieces } from '../fanout/pieces.ts'
import { Topic } from '../fanout/topic.ts'
import { Wires } from '../fanout/wire.ts'
import { type ClientHost, type Limits, ServerClient } from '../peer/client.ts'

export interface HubHost {
  readonly chains: Chains
  readonly limits: Limits
  readonly counters: Counters
  readonly log: Logger
  /** `undefined` if the storage has none. */
  readonly bus: Bus | undefined
  /** `undefined` on a single node. */
  readonly carrier: Carrier | undefined
  /** UUID of this node. */
  readonly instance: string
  readonly checks: () => Checks
  readonly storageMetrics: () => Readonly<Record<string, number>>
  /** Whether new clients are accepted: false once the server stops. */
  readonly isAccepting: () => boolean
  stop(why: string): void
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
  readonly #host: HubHost
  readonly #everyone = new Topic('everyone')
  readonly #topics = new Map<string, Topic>()
  /** Disconnected clients whose disconnect chain has not ended. */
  readonly #leaving = new Set<ServerClient>()
  #whenEmpty: (() => void)[] = []

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
      }
      const disconnect = (order: DisconnectOrder) => this.#disconnectLocal(order)
      this.fabric = new Fabric({ ...host, carrier, maxBytes: host.limits.maxBuffered, deliver, disconnect })
    }
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

  get storageMetrics(): Readonly<Record<string, number>> {
    return this.#host.storageMetrics()
  }

  broadcast(payload: Payload, to: Audience = {}): void {
    checkPayload('broadcast', payload)
    checkFormat(to.format)
    const { where, format } = to
    if (where === undefined && to.local !== true) this.fabric?.add(to.topic, payload, format)
    const topic = this.#topicOf(to.topic)
    if (topic === undefined) return
    if (where !== undefined) this.#broadcastWhere(topic, payload, where, to)
    else this.fanout.broadcast(topic, payload, (to.except as ServerClient | undefined)?.outbox, format)
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
    const order = checkOrder({ target, code, reason })
    const isLocal = 'id' in order.target && this.clients.has(order.target.id)
    if (!isLocal) this.fabric?.order(order)
    this.#disconnectLocal(order)
  }

  stop(why: string): void {
    if (typeof why !== 'string') throw new FwsError('ERR_STATE', `stop() takes a reason, received ${shown(why)}`)
    this.#host.stop(why)
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
    this.fanout.join(this.#everyone, client.outbox)
    for (const topic of client.topics) this.joinTopic(client, topic)
  }

  leaveAll(client: ServerClient): void {
    for (const topic of [...client.outbox.topics]) this.#leave(client, topic)
  }

  joinTopic(client: ServerClient, name: string): void {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new Topic(name)
      this.#topics.set(name, topic)
      this.fabric?.listen(name)
    }
    this.fanout.join(topic, client.outbox)
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
    this.fanout.leave(topic, client.outbox)
    if (topic.members.size > 0 || topic === this.#everyone) return
    this.#topics.delete(topic.name)
    this.fabric?.ignore(topic.name)
  }

  #left(client: ServerClient): void {
    this.#leaving.delete(client)
    if (this.clients.size > 0 || this.#leaving.size > 0) return
    for (const resolve of this.#whenEmpty.splice(0)) resolve()
  }

  #topicOf(name: string | undefined): Topic | undefined {
    return name === undefined ? this.#everyone : this.#topics.get(name)
  }

  #disconnectLocal({ target, code, reason }: DisconnectOrder): void {
    const isTarget = (client: ServerClient) => {
      if ('id' in target) return client.id === target.id
      return 'sub' in target ? client.identity === target.sub : client.topics.has(target.topic)
    }
    const one = 'id' in target ? this.clients.get(target.id) : undefined
    const candidates = one === undefined ? [...this.arriving, ...this.clients.values()] : [one]
    for (const client of candidates) if (isTarget(client)) client.disconnect(code, reason)
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
        encoded = wire.encode(payload, format)
        encodings.set(wire, encoded)
      }
      client.sendEncoded(encoded)
    }
  }
}
