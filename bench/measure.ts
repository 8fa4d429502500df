// One measurement: starts a server, runs the load, and returns readings.
import { join } from 'node:path'
import type { Contestant, Setup } from './contestants.ts'
import type { Job, Measured, Receiver } from './load.ts'
import { load, type Served, withLoad, withServer } from './processes.ts'

export interface Scale {
  readonly clients: number
  readonly idleClients: number
  /** Seconds of each measurement, and of the warmup. */
  readonly seconds: number
  readonly warmup: number
  readonly receiver: Receiver
  /** All rows, or the headline rows only. */
  readonly isFull: boolean
}

/** One number of one contestant in one round. */
export interface Reading {
  readonly row: string
  readonly unit:
    | 'deliveries/s'
    | 'µs a delivery'
    | 'µs a client'
    | 'ms'
    | 'clients/s'
    | 'KiB a client'
    | 'MiB'
    | 'ns a message'
    | '%'
    | 'bytes'
    | 'faults'
  readonly value: number
  /** Busy shares of the time, of the load and of the core of the server. */
  readonly busy?: { readonly load: number; readonly server: number }
  /** The pattern of the messages, for the ceiling of the load. */
  readonly pattern?: Pattern
}

/** Clients, bytes per message and messages in flight; 0 in flight only connects. */
export interface Pattern {
  readonly clients: number
  readonly size: number
  readonly inflight: number
}

/** Units in which less is better. */
export const LESS = new Set<Reading['unit']>([
  'µs a delivery',
  'µs a client',
  'ms',
  'KiB a client',
  'MiB',
  'ns a message',
  '%',
  'bytes',
  'faults',
])

export type Shape = Pick<Job, 'size' | 'clients' | 'rooms' | 'audience'>

/** Deliveries per second for each number in flight; the first round also checks every message. */
export function throughput(
  contestant: Contestant,
  setup: Setup,
  shape: Shape,
  inflight: readonly number[],
  row: string,
  scale: Scale,
  round: number,
): Promise<readonly Reading[]> {
  return serve(contestant, setup, scale, async (_, base) => {
    const job = { ...base, ...shape }
    const paces = inflight.map(inflight => ({ inflight }))
    const readings: Reading[] = []
    if (round === 0) {
      const [checked] = await load({
        ...job,
        check: true,
        paces: paces.slice(-1),
        warmup: 0,
        seconds: scale.seconds / 2,
      })
      readings.push(faults(row, checked!))
    }
    for (const [i, measured] of (await load({ ...job, paces })).entries()) {
      const pattern = { clients: shape.clients, size: shape.size, inflight: inflight[i]! }
      // The ceiling counts reads only, and an echo needs a write per read.
      readings.push(
        ...deliveries(`${row}, ${inFlight(paces[i]!, scale)}`, measured, setup.kind === 'echo' ? undefined : pattern),
      )
    }
    return readings
  })
}

export function serve<T>(
  { dialect, command }: Contestant,
  setup: Setup,
  { clients, seconds, warmup, receiver }: Scale,
  work: (server: Served, job: Job) => Promise<T>,
): Promise<T> {
  return withServer(command(setup), server =>
    work(server, {
      dialect,
      urls: [server.url],
      clients,
      rooms: 1,
      audience: 'others',
      size: 64,
      paces: [],
      seconds,
      warmup,
      receiver,
      watch: { server: [server.pid] },
    }),
  )
}

/** The most deliveries, or handshakes, per second that the load handles, from a source that always writes. */
export function ceiling({ clients, size, inflight }: Pattern, { seconds, warmup, receiver }: Scale): Promise<number> {
  const source = join(import.meta.dirname, 'servers/source.mjs')
  return withServer([process.execPath, source, String(size)], async ({ url }) => {
    const shape = { dialect: 'plain', urls: [url], clients, rooms: 1, audience: 'everyone', size } as const
    if (inflight === 0) {
      const { opened } = await withLoad({ ...shape, paces: [] }, async load => load)
      return opened.opened / opened.seconds
    }
    const readBytes = inflight * (size + (size < 126 ? 2 : 4))
    const paces = [{ inflight: 1 }]
    const [measured] = await load({ ...shape, readBytes, paces, seconds, warmup, receiver, isEndless: true })
    return measured!.rate
  })
}

export function inFlight({ inflight }: { inflight: number }, { receiver }: Scale): string {
  return `${inflight} in flight${receiver === 'sleep' ? ', receiver sleeps' : ''}`
}

/** Deliveries per second, and the CPU time of the server for each, user and system, of all its threads. */
export function deliveries(row: string, { rate, busy, cpu }: Measured, pattern?: Pattern): Reading[] {
  const shares = { load: busy, server: cpu.server! }
  return [
    { row, unit: 'deliveries/s', value: rate, busy: shares, ...(pattern && { pattern }) },
    { row: `${row}, server CPU`, unit: 'µs a delivery', value: (1e6 * cpu.server!) / rate },
  ]
}

export function latencies(row: string, { p50, p99 }: Measured): Reading[] {
  return [
    { row: `${row}, p50`, unit: 'ms', value: p50 },
    { row: `${row}, p99`, unit: 'ms', value: p99 },
  ]
}

/** Lost, doubled and reordered deliveries. */
export function faults(row: string, { lost, doubled, reordered }: Measured): Reading {
  return { row: `${row}: lost, doubled or reordered`, unit: 'faults', value: lost + doubled + reordered }
}
