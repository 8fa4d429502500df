import type { Sample, SlowClient } from '../sample.ts'

const TOTALS = ['opened', 'closed', 'messages', 'deliveries', 'bytesIn', 'bytesOut', 'errors', 'paused'] as const

/** A total, and its growth per second. */
export interface Rate {
  readonly total: number
  readonly perSecond: number
}

/** The handlers of a filter on a chain. */
export interface FilterRates {
  /** The filter's name as in `-f`, and its position there, from 1. */
  readonly filter: string
  readonly place: number
  readonly chain: string
  readonly calls: Rate
  /** Mean time of the measured calls, `null` if there are none; an async handler waits in this time. */
  readonly microseconds: number | null
  readonly rewritten: Rate
  readonly dropped: Rate
  readonly failed: Rate
}

/** What `fws-server top` shows: the difference between two samples. */
export interface Rates {
  /** Seconds between the samples. */
  readonly seconds: number
  /** Names of the checks of `/readyz` that fail. */
  readonly failing: readonly string[]
  /** Seconds since the start of the server. */
  readonly uptime: number
  /** Processors in use: 1 is one of them, all the time. */
  readonly cpu: number
  /** Resident memory, bytes. */
  readonly memory: number
  readonly clients: number
  readonly totals: Readonly<Record<(typeof TOTALS)[number], Rate>>
  /** By reason, HTTP status, and close code. */
  readonly drops: Readonly<Record<string, Rate>>
  readonly refusals: Readonly<Record<string, Rate>>
  readonly closes: Readonly<Record<string, Rate>>
  /** In the order of the chain. */
  readonly filters: readonly FilterRates[]
  readonly slowest: readonly SlowClient[]
  /** Metrics of the storage and of kept topics by name; a rate for those that are totals. */
  readonly storage: Readonly<Record<string, number | Rate>>
}

/** The rates between two samples; `undefined` if the server has started again between them. */
export function ratesOf(before: Sample, after: Sample): Rates | undefined {
  const seconds = (after.uptime - before.uptime) / 1000
  if (before.since !== after.since || seconds <= 0) return undefined
  const rate = (total: number, earlier = 0): Rate => ({ total, perSecond: (total - earlier) / seconds })
  const rates = (totals: Readonly<Record<string, number>>, earlier: Readonly<Record<string, number>>) =>
    mapped(totals, (total, name) => rate(total, earlier[name]))

  const filters = after.handlers.map(({ chain, filter, order, ...its }, i): FilterRates => {
    const was = before.handlers[i] ?? its
    const timed = its.timed - was.timed
    return {
      filter,
      place: order + 1,
      chain,
      calls: rate(its.calls, was.calls),
      microseconds: timed > 0 ? (its.nanoseconds - was.nanoseconds) / timed / 1000 : null,
      rewritten: rate(its.rewritten, was.rewritten),
      dropped: rate(its.dropped, was.dropped),
      failed: rate(its.failed, was.failed),
    }
  })
  return {
    seconds,
    failing: Object.entries(after.checks).flatMap(([name, isGood]) => (isGood ? [] : [name])),
    uptime: after.uptime / 1000,
    cpu: rate(after.cpu, before.cpu).perSecond / 1e6,
    memory: after.memory,
    clients: after.clients,
    totals: Object.fromEntries(
      TOTALS.map(name => [name, rate(after.counters[name], before.counters[name])]),
    ) as unknown as Rates['totals'],
    drops: rates(after.counters.drops, before.counters.drops),
    refusals: rates(after.counters.refusals, before.counters.refusals),
    closes: rates(after.counters.closes, before.counters.closes),
    filters: filters.sort((a, b) => a.place - b.place),
    slowest: after.slowest,
    storage: {
      ...mapped(after.storage, (value, name) => (name.endsWith('_total') ? rate(value, before.storage[name]) : value)),
      ...after.streams,
    },
  }
}

function mapped<V, R>(values: Readonly<Record<string, V>>, map: (value: V, name: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]))
}
