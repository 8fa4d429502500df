import type { Sample } from '../sample.ts'

const TOTALS = ['opened', 'closed', 'messages', 'deliveries', 'bytesIn', 'bytesOut', 'errors', 'paused'] as const

/** A total, and its growth per second. */
export interface Rate {
  readonly total: number
  readonly perSecond: number
}

/** The view of `fws-server top` and the output of `--once`: the difference between two samples. */
export type Rates = NonNullable<ReturnType<typeof ratesOf>>

/** The rates between two samples; `undefined` if the server has started again between them. */
export function ratesOf(before: Sample, after: Sample) {
  const seconds = (after.uptime - before.uptime) / 1000
  if (before.since !== after.since || seconds <= 0) return undefined
  const rate = (total: number, earlier = 0): Rate => ({ total, perSecond: (total - earlier) / seconds })
  const rates = (totals: Readonly<Record<string, number>>, earlier: Readonly<Record<string, number>>) =>
    mapped(totals, (total, name) => rate(total, earlier[name]))

  const filters = after.handlers.map(({ chain, filter, order, ...its }, i) => {
    const was = before.handlers[i] ?? its
    const timed = its.timed - was.timed
    return {
      /** The filter's name as in `-f`, and its position there, from 1. */
      filter,
      place: order + 1,
      chain,
      calls: rate(its.calls, was.calls),
      /** Mean time of the measured calls, `null` if there are none; an async handler waits in this time. */
      microseconds: timed > 0 ? (its.nanoseconds - was.nanoseconds) / timed / 1000 : null,
      rewritten: rate(its.rewritten, was.rewritten),
      dropped: rate(its.dropped, was.dropped),
      failed: rate(its.failed, was.failed),
    }
  })
  return {
    /** Seconds between the samples. */
    seconds,
    /** Names of the checks of `/readyz` that fail. */
    failing: Object.entries(after.checks).flatMap(([name, isGood]) => (isGood ? [] : [name])),
    /** Seconds since the start of the server. */
    uptime: after.uptime / 1000,
    /** Processors in use: 1 is one of them, all the time. */
    cpu: rate(after.cpu, before.cpu).perSecond / 1e6,
    /** Resident memory, bytes. */
    memory: after.memory,
    clients: after.clients,
    totals: Object.fromEntries(
      TOTALS.map(name => [name, rate(after.counters[name], before.counters[name])]),
    ) as unknown as Readonly<Record<(typeof TOTALS)[number], Rate>>,
    /** By reason, HTTP status, and close code. */
    drops: rates(after.counters.drops, before.counters.drops),
    refusals: rates(after.counters.refusals, before.counters.refusals),
    closes: rates(after.counters.closes, before.counters.closes),
    /** In the order of the chain. */
    filters: filters.sort((a, b) => a.place - b.place),
    slowest: after.slowest,
    /** Metrics of the storage and of kept topics by name; a rate for those that are totals. */
    storage: {
      ...mapped(after.storage, (value, name) => (name.endsWith('_total') ? rate(value, before.storage[name]) : value)),
      ...after.streams,
    } as Readonly<Record<string, number | Rate>>,
  }
}

function mapped<V, R>(values: Readonly<Record<string, V>>, map: (value: V, name: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]))
}
