import type { Bus, OpenStorage, OptionSpecs, OptionValues, Payload, Sets, Values } from 'filtered-websocket'
import { MemoryStreams } from './memory/streams.ts'

export const options = {
  'memory-channels': { type: 'array', default: ['global'], describe: 'Channels that feed the consumer chain' },
  'memory-streams-bytes': {
    type: 'number',
    default: 268_435_456,
    min: 1_048_576,
    integer: true,
    describe:
      'Bytes of all streams; beyond, the stream without an append for the longest time is deleted, or entries of queues are refused',
  },
  'memory-streams-topics': {
    type: 'number',
    default: 100_000,
    min: 1,
    integer: true,
    describe:
      'Number of streams; beyond, the stream without an append for the longest time is deleted, or entries of queues are refused',
  },
} as const satisfies OptionSpecs

/** Opens a storage with all capabilities in the memory of the process. */
export function open({ options: chosen }: { readonly options: OptionValues<typeof options> }): OpenStorage {
  const values = new MemoryValues()
  const streams = new MemoryStreams({
    bytes: chosen['memory-streams-bytes'],
    topics: chosen['memory-streams-topics'],
  })
  return {
    sets: new MemorySets(),
    values,
    bus: new MemoryBus(),
    streams,
    channels: chosen['memory-channels'],
    metrics: () => streams.metrics(),
    close: () => {
      values.close()
      streams.close()
    },
  }
}

class MemorySets implements Sets {
  readonly #sets = new Map<string, Set<string>>()

  get(key: string): ReadonlySet<string> {
    return new Set(this.#sets.get(key))
  }

  add(key: string, member: string): void {
    const set = this.#sets.get(key)
    if (set === undefined) this.#sets.set(key, new Set([member]))
    else set.add(member)
  }

  remove(key: string, member: string): void {
    const set = this.#sets.get(key)
    if (set?.delete(member) && set.size === 0) this.#sets.delete(key)
  }
}

interface StoredValue {
  readonly value: string
  /** Expiry in milliseconds since 1970; Infinity without a time to live. */
  readonly until: number
  readonly timer?: NodeJS.Timeout | undefined
}

/** The longest delay of a timer; for a longer time to live the timer is renewed. */
const MAX_TIMER = 2 ** 31 - 1

class MemoryValues implements Values {
  readonly #values = new Map<string, StoredValue>()

  get(key: string): string | undefined {
    return this.#live(key)?.value
  }

  set(key: string, value: string, { ttlMs, ifAbsent = false }: { ttlMs?: number; ifAbsent?: boolean } = {}): boolean {
    if (ifAbsent && this.#live(key) !== undefined) return false
    this.#store(key, value, ttlMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttlMs)
    return true
  }

  increment(key: string, by = 1, ttlMs?: number): number {
    const before = this.#live(key)
    const value = before?.value ?? '0'
    const sum = Number(value) + by
    if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(sum))
      throw new TypeError(`value "${key}" is not an integer that can be increased by ${by}`)
    const until = before?.until ?? (ttlMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttlMs)
    this.#store(key, String(sum), until)
    return sum
  }

  take(key: string): string | undefined {
    const value = this.get(key)
    this.delete(key)
    return value
  }

  delete(key: string): void {
    clearTimeout(this.#values.get(key)?.timer)
    this.#values.delete(key)
  }

  close(): void {
    for (const key of [...this.#values.keys()]) this.delete(key)
  }

  #live(key: string): StoredValue | undefined {
    const stored = this.#values.get(key)
    if (stored === undefined || stored.until > Date.now()) return stored
    this.delete(key)
    return undefined
  }

  #store(key: string, value: string, until: number): void {
    clearTimeout(this.#values.get(key)?.timer)
    const timer =
      until === Number.POSITIVE_INFINITY
        ? undefined
        : setTimeout(() => this.#expire(key), Math.min(until - Date.now(), MAX_TIMER))
    timer?.unref()
    this.#values.set(key, { value, until, timer })
  }

  #expire(key: string): void {
    const stored = this.#live(key)
    if (stored !== undefined) this.#store(key, stored.value, stored.until)
  }
}

class MemoryBus implements Bus {
  readonly #subscribers = new Map<string, Set<{ deliver(payload: Payload): void }>>()

  /** Delivers synchronously in the order of the subscriptions. Each subscriber gets its own copy of a Buffer. */
  publish(channel: string, payload: Payload): void {
    for (const subscriber of [...(this.#subscribers.get(channel) ?? [])])
      subscriber.deliver(typeof payload === 'string' ? payload : Buffer.from(payload))
  }

  subscribe(channel: string, deliver: (payload: Payload) => void): () => void {
    const subscribers = this.#subscribers.get(channel) ?? new Set()
    this.#subscribers.set(channel, subscribers)
    const subscriber = { deliver }
    subscribers.add(subscriber)
    return () => {
      subscriber.deliver = () => {}
      subscribers.delete(subscriber)
      if (subscribers.size === 0) this.#subscribers.delete(channel)
    }
  }
}
