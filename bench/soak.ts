// A server under churn, resets, half-open and slow clients, bad frames and compression: `node bench/run.mjs soak --minutes 10`. Prints its
// memory, clients and handles; fails if its memory grows by more than `--limit` KiB per minute, if it dies, or if it counts clients after
// all have gone. In runs under 10 minutes a step of the allocator by 1 MiB is above the default limit.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Launched } from '../test/support/cli.ts'
import { metricsOf } from '../test/support/metrics.ts'
import { until } from '../test/support/peer.ts'
import { resourcesOf, watched } from '../test/support/resources.ts'
import { LOAD_CORE, pin, SERVER_CORE } from './processes.ts'
import { kinds, type Visitor } from './soak-clients.ts'
import { failuresOf, type Sample, slopeOf } from './verdict.ts'

/** Milliseconds between samples, of which there are at least `SAMPLES`. */
const INTERVAL = 10_000
const SAMPLES = 12
/** Milliseconds until a visitor follows another. */
const BREAK = 50
/** Milliseconds for an answer of the server, and until it has noticed that all clients have gone. */
const ANSWER = 10_000
const GONE = 20_000

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: { minutes: { type: 'string', default: '10' }, limit: { type: 'string', default: '512' } },
})
const [minutes, limit] = [Number(values.minutes), Number(values.limit)]
if (!(minutes > 0 && Number.isFinite(minutes))) refuse('--minutes takes a number above 0', values.minutes)
if (values.limit.trim() === '' || !Number.isFinite(limit)) refuse('--limit takes a number', values.limit)

const options = ['broadcast', '--heartbeat', '5', '--compress']
const server = new Launched([...watched.argv, ...options], { command: watched.command })
pin(process.pid, LOAD_CORE)
pin(server.pid, SERVER_CORE)
const visits: Record<string, number> = {}
const visitors = new Set<Visitor>()
const samples: Sample[] = []
let isOver = false
let died: string | undefined
let left = 0

try {
  await until(() => server.listening() || isGone())
  if (isGone()) throw new Error(server.stderr)
  console.log(`server ${server.pid}, ${minutes} minutes\n minute  RSS MiB  heap MiB  clients  handles`)
  const start = performance.now()
  const loads = Object.keys(kinds).flatMap(kind => Array.from({ length: kinds[kind]!.count }, () => keepVisiting(kind)))
  const interval = Math.min(INTERVAL, (minutes * 60_000) / SAMPLES)
  for (let at = 0; at < minutes; at = (performance.now() - start) / 60_000) {
    await sleep(interval)
    samples.push(await sample((performance.now() - start) / 60_000))
  }
  isOver = true
  for (const visitor of visitors) visitor.end()
  await Promise.all(loads)
  left = await clientsLeft()
  await sample((performance.now() - start) / 60_000)
} catch (error) {
  died = isGone()
    ? `the server exited with ${server.child.signalCode ?? server.child.exitCode}: ${server.stderr.slice(-1000)}`
    : `the server does not answer: ${(error as Error).message}`
} finally {
  await server.kill()
}

const slope = slopeOf(samples)
console.log(
  `visits: ${Object.entries(visits)
    .map(([kind, count]) => `${kind} ${count}`)
    .join(', ')}`,
)
console.log(`RSS over the last two thirds: ${slope.toFixed(0)} KiB/minute, limit ${limit}; clients left: ${left}`)
const failures = failuresOf({ died, slope, limit, left })
for (const failure of failures) console.error(`failed: ${failure}`)
// Ends the visitors too.
process.exit(failures.length > 0 ? 1 : 0)

async function keepVisiting(kind: string): Promise<void> {
  while (!isOver) {
    visits[kind] = (visits[kind] ?? 0) + 1
    const visitor = kinds[kind]!.visit(server.url, visits[kind])
    visitors.add(visitor)
    await visitor.done
    visitors.delete(visitor)
    await sleep(BREAK)
  }
}

/** @param at - minutes since the start */
async function sample(at: number): Promise<Sample> {
  const { rss, heapUsed, handles } = await inTime(resourcesOf(server))
  const open = Object.values(handles).reduce((sum, count) => sum + count, 0)
  const cells = [at.toFixed(2), mib(rss), mib(heapUsed), await clients(), open]
  const widths = [7, 9, 10, 9, 9]
  console.log(cells.map((cell, i) => String(cell).padStart(widths[i]!)).join(''))
  return { at, rss }
}

async function clientsLeft(): Promise<number> {
  const deadline = performance.now() + GONE
  let count = await clients()
  while (count > 0 && performance.now() < deadline) {
    await sleep(100)
    count = await clients()
  }
  return count
}

async function clients(): Promise<number> {
  return (await inTime(metricsOf(server))).get('fws_clients')!
}

function inTime<T>(answer: Promise<T>): Promise<T> {
  const late = sleep(ANSWER, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${ANSWER} ms`)
  })
  return Promise.race([answer, late])
}

function isGone(): boolean {
  return server.child.exitCode !== null || server.child.signalCode !== null
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}

function refuse(sentence: string, received: string): never {
  console.error(`${sentence}, received "${received}"`)
  process.exit(2)
}
