// Measures the CPU cost of a message from the transport through the chain, without sockets and sends. Sends nanoseconds per message
// by case to the parent process, medians of alternating rounds.
import { pino } from 'pino'
import { readGiven } from '../dist/src/config/config-file.js'
import type { FilterModule } from '../dist/src/contract/filter.js'
import { assemble } from '../dist/src/lifecycle/assembly.js'
import { makePlan } from '../dist/src/lifecycle/plan.js'
import { createLoader } from '../dist/src/lifecycle/server.js'
import { ServerClient } from '../dist/src/peer/client.js'
import { frame, MemoryTransport } from '../dist/src/testing/transport.js'
import { median } from './results.ts'

const MESSAGES = 500_000
const ROUNDS = 5

const pass: FilterModule = { message: () => undefined }
const rewrite: FilterModule = { message: payload => payload }
const slow: FilterModule = { message: async () => undefined }

const cases: Record<string, FilterModule[]> = {
  'no message filter': [{ open: () => {} }],
  '1 sync filter': [pass],
  '5 sync filters': Array(5).fill(pass),
  '10 sync filters': Array(10).fill(pass),
  '1 rewriting filter': [rewrite],
  '1 async filter': [slow],
}

async function client(filters: FilterModule[]): Promise<ServerClient> {
  const plan = await makePlan(
    { given: readGiven({ filters, 'max-queued': MESSAGES, 'max-buffered': 2 ** 40 }, '.'), base: '.' },
    createLoader(),
  )
  const { hub } = await assemble(plan, { log: pino({ level: 'silent' }) })
  const client = new ServerClient(hub, { remote: 'bench', frame })
  client.open(new MemoryTransport(client))
  return client
}

async function nanoseconds(filters: FilterModule[], messages: number): Promise<number> {
  const one = await client(filters)
  const start = process.hrtime.bigint()
  for (let i = 0; i < messages; i++) one.receive('hello, world')
  await new Promise<void>(resolve => one.whenIdle(resolve))
  return Number(process.hrtime.bigint() - start) / messages
}

const results: Record<string, number[]> = {}
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, filters] of Object.entries(cases)) {
    const took = await nanoseconds(filters, filters.includes(slow) ? MESSAGES / 10 : MESSAGES)
    // The first round warms up.
    if (round > 0) results[name] = [...(results[name] ?? []), took]
  }
}
process.send!(Object.fromEntries(Object.entries(results).map(([name, numbers]) => [name, median(numbers)])))
