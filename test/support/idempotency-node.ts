import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { createCounters } from '../../src/fanout/counters.ts'
import type { Server, Streams } from '../../src/index.ts'
import { type IdempotencyOptions, IdempotencyStore } from '../../src/kit/idempotency/idempotency-store.ts'
import { KeptTopics } from '../../src/streams/kept-topics.ts'

const log = pino({ level: 'silent' })
const PREFIX = '@test-done/'
const DEFAULTS = { window: 4, rememberMs: 600_000, maxBytes: 67_108_864, maxSenders: 1000 }

export type StoreOptions = Partial<IdempotencyOptions>

/** Nodes of one storage, each with an idempotency store. Those in `dead` are dead. */
export class IdempotencyNode {
  readonly id: string = randomUUID()
  readonly store: IdempotencyStore
  readonly failures: unknown[] = []
  readonly #kept: KeptTopics

  constructor(streams: Streams, dead: ReadonlySet<string> = new Set(), options: StoreOptions = {}) {
    this.#kept = new KeptTopics({
      streams,
      instance: this.id,
      totals: createCounters().streams,
      drops: {},
      log,
      retain: topic => this.store.retain(topic),
      deliver: () => {},
      lose: () => {},
      hasMembers: () => false,
    } as ConstructorParameters<typeof KeptTopics>[0])
    this.#kept.start()
    const server: Pick<Server, 'append'> = {
      append: (topic, entries, how = {}) =>
        this.#kept.append(this.#kept.of(topic)!, { entries: entries as never, ...how }),
    }
    this.store = new IdempotencyStore({
      ...DEFAULTS,
      prefix: PREFIX,
      server: () => server,
      nodes: { id: this.id, isOwn: id => id === this.id, wasAlive: id => !dead.has(id), isDead: id => dead.has(id) },
      failed: error => this.failures.push(error),
      ...options,
    })
  }

  /** Attributes of a sender in the storage. */
  async attributesOf(id: string, epoch: string): Promise<Readonly<Record<string, string>>> {
    const kept = this.#kept.of(topicOf(id, epoch))!
    return (await this.#kept.read(kept, { from: 'newest', entries: 0, bytes: 0 })).attributes
  }

  stop(): void {
    this.#kept.stop()
  }
}

/** The topic with the records of a sender. */
export function topicOf(id: string, epoch: string): string {
  return `${PREFIX}${id.length}:${id}:${epoch}`
}
