import type { Checks, Counters, HandlerCounts, Server } from 'filtered-websocket'
import { inSlices } from 'filtered-websocket/kit'
import { type Timing, Timings } from './timings.ts'

/** Raised when a reader of an older sample would misread it. */
export const SAMPLE_VERSION = 1
const MAX_SLOWEST = 10

/** The handlers of a filter on a chain. */
export type HandlerSample = HandlerCounts & Timing

/** A client with unsent messages. */
export interface SlowClient {
  readonly id: string
  readonly remote: string
  readonly identity?: string | undefined
  /** Unsent bytes. */
  readonly unsent: number
}

/** The answer of `/top`: totals since the start. Rates are computed from two of them. */
export interface Sample {
  readonly version: typeof SAMPLE_VERSION
  /** Start of the server, milliseconds since 1970. All totals begin at 0 then. */
  readonly since: number
  /** Milliseconds since the start, from a clock that is never set. */
  readonly uptime: number
  readonly checks: Checks
  readonly clients: number
  readonly counters: Counters
  readonly handlers: readonly HandlerSample[]
  /** The clients with the most unsent bytes, at most 10. */
  readonly slowest: readonly SlowClient[]
  readonly storage: Readonly<Record<string, number>>
  readonly streams: Readonly<Record<string, number>>
  /** Resident memory, bytes. */
  readonly memory: number
  /** Processor time, microseconds. */
  readonly cpu: number
}

/** Takes samples of a server. */
export class Sampler {
  readonly #server: Server
  readonly #timings: Timings
  readonly #since = Date.now()
  readonly #start = performance.now()

  constructor(server: Server) {
    this.#server = server
    this.#timings = new Timings(server)
  }

  /** Takes a sample, and measures the handlers for the next one. */
  async sample(): Promise<Sample> {
    const server = this.#server
    this.#timings.watch()
    const slowest = await slowestOf(server)
    const { user, system } = process.cpuUsage()
    return {
      version: SAMPLE_VERSION,
      since: this.#since,
      uptime: performance.now() - this.#start,
      checks: server.checks,
      clients: server.clients.size,
      counters: server.counters,
      handlers: handlersOf(server, this.#timings),
      slowest,
      storage: server.storageMetrics,
      streams: server.streamGauges,
      memory: process.memoryUsage.rss(),
      cpu: user + system,
    }
  }

  stop(): void {
    this.#timings.stop()
  }
}

/** One entry for all handlers of a filter on a chain. */
function handlersOf({ handlers }: Server, timings: Timings): readonly HandlerSample[] {
  const merged: HandlerSample[] = []
  for (const { chain, filter, order, ...counts } of handlers) {
    const last = merged.at(-1)
    if (last?.chain === chain && last.order === order) {
      merged[merged.length - 1] = {
        ...last,
        calls: last.calls + counts.calls,
        rewritten: last.rewritten + counts.rewritten,
        dropped: last.dropped + counts.dropped,
        failed: last.failed + counts.failed,
      }
    } else merged.push({ chain, filter, order, ...counts, ...timings.of(chain, order) })
  }
  return merged
}

async function slowestOf({ clients }: Server): Promise<readonly SlowClient[]> {
  const slowest: SlowClient[] = []
  await inSlices(clients.values(), ({ id, remote, identity, buffered: unsent }) => {
    if (unsent === 0 || unsent <= (slowest[MAX_SLOWEST - 1]?.unsent ?? 0)) return
    const place = slowest.findIndex(other => other.unsent < unsent)
    slowest.splice(place === -1 ? slowest.length : place, 0, { id, remote, identity, unsent })
    slowest.length = Math.min(slowest.length, MAX_SLOWEST)
  })
  return slowest
}
