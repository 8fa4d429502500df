// The files in `bench/results/`: every reading of every round, with machine and versions.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { type Contestant, commitOf } from './contestants.ts'
import type { Pattern, Reading, Scale } from './measure.ts'

const folder = join(import.meta.dirname, 'results')

export interface Row {
  readonly scenario: string
  readonly row: string
  readonly unit: Reading['unit']
  /** One value per round, by contestant. */
  readonly rounds: Record<string, number[]>
  /** Busy shares of the time, of the load and the server, by contestant. */
  readonly busy: Record<string, { readonly load: number; readonly server: number }[]>
  readonly pattern?: Pattern
  /** The most that the load handles in this pattern. */
  ceiling?: number
}

export interface Results {
  readonly date: string
  readonly command: string
  readonly commit: string
  readonly machine: Readonly<Record<string, string | number>>
  readonly versions: Readonly<Record<string, string>>
  readonly scale: Scale
  readonly rounds: number
  readonly rows: Row[]
}

export function newResults(
  contestants: Readonly<Record<string, Contestant>>,
  names: readonly string[],
  scale: Scale,
  rounds: number,
): Results {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${release()}`,
    /** Load average at the start; above 0.5 other processes affect the results. */
    loadAverage: Number(loadavg()[0]!.toFixed(2)),
  }
  const versions = Object.fromEntries(names.map(name => [name, contestants[name]!.version()]))
  return {
    date: new Date().toISOString(),
    command: `node bench/run.mjs ${process.argv.slice(2).join(' ')}`.trim(),
    commit: commitOf(import.meta.dirname),
    machine,
    versions: { node: process.versions.node, ...versions },
    scale,
    rounds,
    rows: [],
  }
}

export function add(results: Results, scenario: string, name: string, reading: Reading): void {
  const { row, unit, value, busy, pattern } = reading
  let found = results.rows.find(known => known.scenario === scenario && known.row === row)
  if (found === undefined) {
    found = { scenario, row, unit, rounds: {}, busy: {}, ...(pattern && { pattern }) }
    results.rows.push(found)
  }
  found.rounds[name] = [...(found.rounds[name] ?? []), value]
  if (busy !== undefined) found.busy[name] = [...(found.busy[name] ?? []), busy]
}

/** NaN without numbers. */
export function median(numbers: readonly number[] = []): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}

/** The ratio of the medians of `ours` and another contestant. */
export function ratio({ rounds }: Row, to: string): number {
  return median(rounds.ours) / median(rounds[to])
}

export function save(
  results: Results,
  path = join(folder, `${results.date.slice(0, 16).replaceAll(':', '')}.json`),
): string {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 1)}\n`)
  return path
}

/** The newest file. */
export function newest(): Results {
  const files = readdirSync(folder).filter(file => file.endsWith('.json'))
  if (files.length === 0) throw new Error('no results yet: npm run bench')
  return JSON.parse(readFileSync(join(folder, files.sort().at(-1)!), 'utf8'))
}
