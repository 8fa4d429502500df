// Runs scenarios with alternating contestants, and prints medians and ratios. Fails if `ours` lost, doubled or reordered a message.
// The command is run.mjs.
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Contestant, makeContestants } from './contestants.ts'
import type { Receiver } from './load.ts'
import { ceiling, LESS, type Scale } from './measure.ts'
import { add, median, newResults, type Row, ratio, save } from './results.ts'
import { type Scenario, scenarios } from './scenarios.ts'

/** Share of its ceiling, or busy share, above which the load may be the bottleneck. */
const BOUND = 0.8
/** Busy share of its core above which the server is the bottleneck. */
const SATURATED = 0.9
const HEADLINE = ['fanout', 'rooms', 'echo', 'latency']
/** Load average without the benchmark. */
const QUIET = 0.5

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    before: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '1000' },
    idle: { type: 'string', default: '10000' },
    seconds: { type: 'string' },
    receiver: { type: 'string', default: 'poll' },
    save: { type: 'string' },
  },
})

const contestants = contestantsOf(values.before)
const names = values.only?.split(',') ?? Object.keys(contestants)
const chosen = positionals.length > 0 ? positionals : values.full ? Object.keys(scenarios) : HEADLINE
check('contestant', names, contestants)
check('scenario', chosen, scenarios)
check('receiver', [values.receiver], { poll: true, sleep: true })
const seconds = Number(values.seconds ?? (values.full ? 3 : 1))
const scale: Scale = {
  clients: Number(values.clients),
  idleClients: Number(values.idle),
  seconds,
  warmup: seconds / 3,
  receiver: values.receiver as Receiver,
  isFull: values.full,
}
const rounds = Number(values.rounds)
const results = newResults(contestants, names, scale, rounds)

console.log(
  `${Object.entries(results.versions)
    .map(entry => entry.join(' '))
    .join(
      ', ',
    )}\n${Object.values(results.machine).slice(0, -1).join(', ')}; medians of ${rounds} alternating rounds of ${seconds} s; receiver: ${scale.receiver}`,
)
if ((results.machine.loadAverage as number) > QUIET)
  console.log(`warning: the load average is ${results.machine.loadAverage}; other processes affect the results`)
for (const name of chosen) await run(name, scenarios[name]!)
// Results of single scenarios are saved only on request.
if (values.save !== undefined || positionals.length === 0) console.log(`\n${save(results, values.save)}`)

const broken = results.rows.filter(({ unit, rounds }) => unit === 'faults' && rounds.ours?.some(count => count > 0))
for (const { scenario, row, rounds } of broken) console.error(`failed: ${scenario}, ${row}: ${rounds.ours}`)
if (broken.length > 0) process.exitCode = 1

function check(what: string, given: readonly string[], valid: Readonly<Record<string, unknown>>): void {
  for (const name of given) {
    if (Object.hasOwn(valid, name)) continue
    if (name === 'before') refuse('contestant before needs --before PATH, another checkout of this project')
    refuse(`unknown ${what} ${name}; known are ${Object.keys(valid).join(', ')}`)
  }
}

function contestantsOf(before: string | undefined): Readonly<Record<string, Contestant>> {
  try {
    return makeContestants(before && resolve(before))
  } catch (error) {
    refuse(`--before: ${(error as Error).message}`)
  }
}

function refuse(sentence: string): never {
  console.error(sentence)
  process.exit(2)
}

async function run(title: string, scenario: Scenario): Promise<void> {
  const running = names.filter(name => scenario.who?.includes(name) ?? !contestants[name]!.isOptional)
  if (running.length === 0) return
  console.log(`\n${title}: ${scenario.about}`)
  for (let round = 0; round < rounds; round++) {
    for (const name of running) {
      const readings = await scenario.run(contestants[name]!, scale, round)
      for (const reading of readings) add(results, title, name, reading)
    }
  }
  const rows = results.rows.filter(row => row.scenario === title)
  for (const row of rows) if (row.pattern !== undefined) row.ceiling = await ceiling(row.pattern, scale)
  print(rows, running)
}

function print(rows: readonly Row[], running: readonly string[]): void {
  const others = running.filter(name => name !== 'ours')
  const table = [['', ...running, ...others.map(name => `ours/${name}`), '', 'load ceiling', 'load idle']]
  for (const row of rows) {
    table.push([
      row.row,
      ...running.map(name => `${number(median(row.rounds[name]))}${isBound(row, name) ? '*' : ''}`),
      ...others.map(name => (row.unit === 'faults' ? '' : number(ratio(row, name)))),
      `${row.unit}${LESS.has(row.unit) ? ', less is better' : ''}`,
      row.ceiling === undefined ? '' : number(row.ceiling),
      running.map(name => idle(row, name)).join(' '),
    ])
  }
  const widths = table[0]!.map((_, column) => Math.max(...table.map(cells => cells[column]!.length)))
  for (const cells of table) {
    const line = cells.map((cell, i) =>
      i === 0 || i === cells.length - 3 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
    )
    console.log(`  ${line.join('  ')}`.trimEnd())
  }
  if (rows.some(row => running.some(name => isBound(row, name))))
    console.log(
      `  * above ${BOUND * 100}% of the ceiling of the load, or the load was busier than the server: the server may be faster`,
    )
}

/** Idle time of the load in percent; empty for an open loop. */
function idle({ busy }: Row, name: string): string {
  const share = 1 - median(busy[name]?.map(({ load }) => load))
  return Number.isNaN(share) ? '' : `${Math.round(share * 100)}%`
}

function isBound({ rounds, busy, ceiling = Number.POSITIVE_INFINITY }: Row, name: string): boolean {
  const load = median(busy[name]?.map(share => share.load))
  const server = median(busy[name]?.map(share => share.server))
  return (load > BOUND && !(server > SATURATED)) || median(rounds[name]) > BOUND * ceiling
}

function number(value: number): string {
  if (Number.isNaN(value)) return '-'
  return value.toLocaleString('en', value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 })
}
