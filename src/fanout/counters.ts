import type { Counters } from '../contract/metrics.ts'

/** Labels per map; further ones count as `other`, so that labels with user data cannot grow the map without limit. */
const MAX_LABELS = 100

export function createCounters(): Counters {
  return {
    opened: 0,
    closed: 0,
    messages: 0,
    bytesIn: 0,
    bytesOut: 0,
    deliveries: 0,
    errors: 0,
    paused: 0,
    events: 0,
    nodesOut: 0,
    nodesUnsent: 0,
    nodesIn: 0,
    nodesLost: 0,
    nodesRefused: 0,
    stdoutDropped: 0,
    drops: Object.create(null),
    refusals: Object.create(null),
    closes: Object.create(null),
    streams: {
      appended: 0,
      refused: 0,
      unsent: 0,
      recovered: 0,
      healed: 0,
      reads: 0,
      lost: Object.create(null),
    },
    tlsFailures: Object.create(null),
  }
}

/** Adds to a labelled total. */
export function count(totals: Record<string, number>, label: string | number, by = 1): void {
  const total = totals[label]
  if (total !== undefined) totals[label] = total + by
  else if (Object.keys(totals).length < MAX_LABELS) totals[label] = by
  else totals.other = (totals.other ?? 0) + by
}
