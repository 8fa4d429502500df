// One measurement: a server started for it, the load put on it, and what comes of that as readings.
import { join } from 'node:path'
import { contestants, type Setup } from './contestants.ts'
import type { Job, Measured } from './load.ts'
import { load, type Served, withLoad, withServer } from './processes.ts'

export interface Scale {
  readonly clients: number
  readonly idleClients: number
  /** Seconds of each measurement, and before it. */
  readonly seconds: number
  readonly warmup: number
  /** Every row, or the headline rows. */
  readonly isFull: boolean
}

/** One number of one contestant in one round. */
export interface Reading {
  readonly row: string
  readonly unit:
    | 'deliveries/s'
    | 'ms'
    | 'clients/s'
    | 'KiB a client'
    | 'MiB'
    | 'ns a message'
    | '%'
    | 'bytes'
    | 'faults'
  readonly value: number
  /** Shares of the time in which the load did not wait, and in which the server had its core. */
  readonly busy?: { readonly load: number; readonly server: number }
  /** How the messages come: the load's own ceiling for such is measured too. */
  readonly pattern?: Pattern
}

/** Clients that get so many messages of so many bytes at a time; 0 in flight: they only connect. */
export interface Pattern {
  readonly clients: number
  readonly size: number
  readonly inflight: number
}

/** Units of which less is better. */
export const LESS = new Set<Reading['unit']>(['ms', 'KiB a client', 'MiB', 'ns a message', '%', 'bytes', 'faults'])

export type Shape = Pick<Job, 'size' | 'clients' | 'rooms' | 'audience'>

/** Deliveries a second at each number in flight; in the first round every message is checked too. */
export function throughput(
  name: string,
  setup: Setup,
  shape: Shape,
  inflight: readonly number[],
  row: string,
  scale: Scale,
  round: number,
): Promise<readonly Reading[]> {
  return serve(name, setup, scale, async (_, base) => {
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
      readings.push({
        row: `${row}, ${inFlight(paces[i]!)}`,
        unit: 'deliveries/s',
        value: measured.rate,
        busy: busy(measured),
        // An echo costs the load a write for each read: a ceiling of reads tells nothing of that.
        ...(setup.kind === 'echo' ? {} : { pattern }),
      })
    }
    return readings
  })
}

export function serve<T>(
  name: string,
  setup: Setup,
  { clients, seconds, warmup }: Scale,
  work: (server: Served, job: Job) => Promise<T>,
): Promise<T> {
  const { dialect, command } = contestants[name]!
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
      watch: { server: [server.pid] },
    }),
  )
}

/**
 * The most deliveries, or handshakes, a second that the load can take: from a source that writes without a pause, read in
 * pieces of this pattern.
 */
export function ceiling({ clients, size, inflight }: Pattern, { seconds, warmup }: Scale): Promise<number> {
  const source = join(import.meta.dirname, 'servers/source.mjs')
  return withServer([process.execPath, source, String(size)], async ({ url }) => {
    const shape = { dialect: 'plain', urls: [url], clients, rooms: 1, audience: 'everyone', size } as const
    if (inflight === 0) {
      const { opened } = await withLoad({ ...shape, paces: [] }, async load => load)
      return opened.opened / opened.seconds
    }
    const readBytes = inflight * (size + (size < 126 ? 2 : 4))
    const paces = [{ inflight: 1 }]
    const [measured] = await load({ ...shape, readBytes, paces, seconds, warmup, isEndless: true })
    return measured!.rate
  })
}

export function inFlight(pace: { inflight: number }): string {
  return `${pace.inflight} in flight`
}

export function busy({ busy, cpu }: Measured) {
  return { load: busy, server: cpu.server! }
}

export function latencies(row: string, { p50, p99 }: Measured): Reading[] {
  return [
    { row: `${row}, p50`, unit: 'ms', value: p50 },
    { row: `${row}, p99`, unit: 'ms', value: p99 },
  ]
}

/** What of all deliveries was lost, doubled or reordered. */
export function faults(row: string, { lost, doubled, reordered }: Measured): Reading {
  return { row: `${row}: lost, doubled or reordered`, unit: 'faults', value: lost + doubled + reordered }
}
