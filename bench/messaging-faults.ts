// Messages lost and run twice between a server and a messaging client while one of them, the network or Redis fails: real processes,
// the client library, both directions. Prints a table for docs/reference/messaging-delivery.md. After a build:
// `node --import tsx bench/messaging-faults.ts`; `--only NAME` selects the rows that begin with it, `--over ws` WebSocket instead of TCP.
import { parseArgs } from 'node:util'
import { faults } from '../test/support/kill-faults.ts'
import { endureWithFile } from '../test/support/kill-files.ts'
import { broken, endure, type KillOptions } from '../test/support/kills.ts'

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, over: { type: 'string', default: 'tcp' } },
})
const { only, over } = values
if (over !== 'tcp' && over !== 'ws') throw new Error(`--over ${over}: there are tcp and ws`)
const chosen = Object.keys(faults).filter(name => name.startsWith(only))
if (chosen.length === 0) throw new Error(`--only ${only}: there are ${Object.keys(faults).join('; ')}`)
const options: KillOptions = { over, rate: 25, calm: 2000, deadline: 25_000 }

const FILE_FAULTS = [
  'server killed, memory',
  'server killed, Redis',
  'client killed',
  'network cut',
  'network cut during each of 5 resumes',
  'answers lost, then cut',
  'half-open for 3 s',
]
/** Names in the table. */
const NAME = { call: 'call()', deliver: 'deliver()', emit: 'peer().emit()', ask: 'peer().call()' }

console.log(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, ${over}, ${options.rate} of each a second:\n`,
)
console.log(
  '| fault | | sent | ran | ran twice: `repeated` | unmarked | lost | failed, did not run | ms to the latest answer | ms until all earlier ones were answered |',
)
console.log('|---|---|---|---|---|---|---|---|---|---|')
const problems: string[] = []
for (const fault of chosen) {
  const outcome = await endure(fault, options).catch(error => {
    problems.push(`${fault}: ${error.message}`)
  })
  if (outcome === undefined) continue
  for (const [kind, { said, done, reported, unreported, lost, refused, codes, latest, recovered }] of Object.entries(
    outcome,
  )) {
    const failed = refused === 0 ? '0' : `${refused} (${codes})`
    const cells = [
      fault,
      NAME[kind as keyof typeof NAME],
      said,
      done,
      reported,
      unreported,
      lost,
      failed,
      latest,
      recovered,
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  problems.push(...broken(fault, outcome))
}
console.log(
  '\n| fault, during a file | | bytes | had arrived | continued at | complete | ms until it was saved |\n|---|---|---|---|---|---|---|',
)
for (const fault of FILE_FAULTS.filter(name => chosen.includes(name))) {
  for (const direction of ['push', 'pull'] as const) {
    const outcome = await endureWithFile(fault, direction, over, options.deadline).catch(error => {
      problems.push(`${fault}: ${direction}: ${error.message}`)
    })
    if (outcome === undefined) continue
    const { bytes, before, wentOnAt, isWhole, recovered } = outcome
    const what = direction === 'push' ? 'sendFile()' : 'getFile()'
    console.log(`| ${[fault, what, bytes, before, wentOnAt, isWhole ? 'yes' : 'no', recovered].join(' | ')} |`)
    if (!isWhole) problems.push(`${fault}: ${direction}: the file differs`)
  }
}
for (const problem of problems) console.error(problem)
for (const [name, { loses }] of Object.entries(faults))
  if (loses !== undefined && chosen.includes(name))
    console.log(`\n${name}: ${loses.kinds} may be lost, for ${loses.because}.`)
if (problems.length > 0) process.exitCode = 1
