// Messages per second through a program as a filter (`exec:`), next to the chain without it and to a process for each client
// (`exec-each:`). After a build: `node --import tsx bench/exec.ts`. The server runs on one core; the program and the load share the other
// one. Each message has 32 characters and is answered by `echo`. The first figures are with 20 messages in flight on each connection, the
// latencies with one.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Called, Job } from './exec-caller.ts'
import { childrenOf, LOAD_CORE, processorTime, runScript, withServer } from './processes.ts'
import { median } from './results.ts'

const { values: chosen } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
})
const seconds = Number(chosen.seconds)
const IN_FLIGHT = 20

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'fws-bench-'))
execFileSync('cc', ['-O2', '-o', join(folder, 'block'), join(root, 'examples/exec/block.c')])
const onLoadCore = (command: string) => `exec:taskset -c ${LOAD_CORE} ${command}`
const contestants: Readonly<Record<string, readonly string[]>> = {
  'echo alone': [],
  'Python (shout.py)': [onLoadCore(join(root, 'examples/exec/shout.py'))],
  'C (block.c)': [onLoadCore(`${join(folder, 'block')} spam`)],
  'awk (block.awk)': [onLoadCore(`mawk -W interactive -v word=spam -f ${join(root, 'examples/exec/block.awk')}`)],
  ...(existsSync(join(root, 'dist/filters/exec-each.js')) && {
    'exec-each: cat': [`exec-each:taskset -c ${LOAD_CORE} cat`],
  }),
}

interface Sample {
  readonly rate: number
  readonly p50: number
  readonly p99: number
  /** CPU microseconds for each message. */
  readonly serverCost: number
  readonly programCost: number
}

async function measure(filters: readonly string[], clients: number): Promise<Sample> {
  const isEach = filters[0]?.startsWith('exec-each') === true
  const command = [join(root, 'dist/bin/fws-server.js'), '-p', '0', '-f', ...filters, ...(isEach ? [] : ['echo'])]
  return withServer([process.execPath, ...command], async ({ url, pid }) => {
    const job: Job = { url, clients, inFlight: IN_FLIGHT, warmup: 1, seconds }
    const run = (more: Partial<Job>) =>
      runScript<Called>('exec-caller.ts', [JSON.stringify({ ...job, ...more })], LOAD_CORE)
    const [program] = childrenOf(pid)
    const times = () => [processorTime(pid), program === undefined ? 0 : processorTime(program)] as const
    const [server, others] = times()
    const { rate, total } = await run({})
    const [serverAfter, othersAfter] = times()
    const { p50, p99 } = await run({ inFlight: 1 })
    return { rate, p50, p99, serverCost: (serverAfter - server) / total, programCost: (othersAfter - others) / total }
  })
}

try {
  const names = Object.keys(contestants).filter(name => chosen.only === undefined || name.includes(chosen.only))
  console.log(`${chosen.rounds} alternating rounds of ${seconds} s, medians; Node ${process.versions.node}`)
  for (const clients of [1, 100]) {
    const samples = new Map<string, Sample[]>()
    for (let round = 0; round < Number(chosen.rounds); round++)
      for (const name of names)
        samples.set(name, [...(samples.get(name) ?? []), await measure(contestants[name]!, clients)])
    console.log(`\n${clients} clients, load ${loadavg()[0]!.toFixed(1)}`)
    console.table(
      Object.fromEntries(
        names.map(name => {
          const of = (key: keyof Sample) => median(samples.get(name)!.map(sample => sample[key]))
          const row = {
            'messages/s': Math.round(of('rate')),
            'p50 µs': Math.round(of('p50')),
            'p99 µs': Math.round(of('p99')),
            'server µs': Number(of('serverCost').toFixed(1)),
            'program µs': Number(of('programCost').toFixed(1)),
          }
          return [name, row]
        }),
      ),
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
