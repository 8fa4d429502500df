import type { IncomingMessage } from 'node:http'
import type {
  Admission,
  AppendOptions,
  Attached,
  Audience,
  Client,
  PublishOptions,
  Server,
  Target,
  TrustedSource,
} from '../contract/client.ts'
import type { Awaitable } from '../contract/deadline.ts'
import type { Drop } from '../contract/drop.ts'
import type { Checks, Counters, HandlerCounts } from '../contract/metrics.ts'
import type { ChainObserver } from '../contract/observer.ts'
import type { Payload } from '../contract/payload.ts'
import type { Refusal } from '../contract/refusal.ts'
import type { AppendOutcome, NewEntry, Position, ReadRange, StreamPage, TopicWatcher } from '../contract/streams.ts'
import type { Transport } from '../contract/transport.ts'

/** A server that passes every call on to another one. Subclasses change or add what they need. */
export class ServerView implements Server {
  readonly #server: Server

  constructor(server: Server) {
    this.#server = server
  }

  get clients(): ReadonlyMap<string, Client> {
    return this.#server.clients
  }
  get ready(): boolean {
    return this.#server.ready
  }
  get checks(): Checks {
    return this.#server.checks
  }
  get handlers(): readonly HandlerCounts[] {
    return this.#server.handlers
  }
  get streamGauges(): Readonly<Record<string, number>> {
    return this.#server.streamGauges
  }
  get storageMetrics(): Readonly<Record<string, number>> {
    return this.#server.storageMetrics
  }
  get counters(): Counters {
    return this.#server.counters
  }
  observe(observer: ChainObserver): () => void {
    return this.#server.observe(observer)
  }
  broadcast(payload: Payload, to?: Audience): void {
    this.#server.broadcast(payload, to)
  }
  append(topic: string, entries: Payload | readonly NewEntry[], how?: AppendOptions): Promise<AppendOutcome> {
    return this.#server.append(topic, entries, how)
  }
  read(topic: string, range: ReadRange): Promise<StreamPage> {
    return this.#server.read(topic, range)
  }
  trim(topic: string, upTo: Position): Promise<void> {
    return this.#server.trim(topic, upTo)
  }
  watch(topic: string, watcher: TopicWatcher): () => void {
    return this.#server.watch(topic, watcher)
  }
  keeps(topic: string): boolean {
    return this.#server.keeps(topic)
  }
  publishTo(topic: string, payload: Payload, how?: PublishOptions): Promise<Position | Drop | undefined> {
    return this.#server.publishTo(topic, payload, how)
  }
  publish(channel: string, payload: Payload): Awaitable<void> {
    return this.#server.publish(channel, payload)
  }
  disconnect(target: Target, code?: number, reason?: string): void {
    this.#server.disconnect(target, code, reason)
  }
  unsubscribe(target: Target, topic: string): void {
    this.#server.unsubscribe(target, topic)
  }
  stop(why: string, error?: unknown): void {
    this.#server.stop(why, error)
  }
  attach(transport: Transport, from?: Client | TrustedSource): Attached {
    return this.#server.attach(transport, from)
  }
  admit(req: IncomingMessage, as: Admission): Promise<Client | Refusal> {
    return this.#server.admit(req, as)
  }
}
