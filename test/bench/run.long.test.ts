import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import type { Results } from '../../bench/results.ts'
import { folder, root, run } from '../support/cli.ts'

const command = [`${root}/bench/run.mjs`]

// How fast is no matter here: only that it measures, and that every message is the right one.
for (const scenario of ['fanout', 'rooms', 'echo', 'latency']) {
  it(`${scenario} is measured, and nothing is lost, doubled or reordered`, async t => {
    const saved = `${folder(t)}/results.json`
    const tiny = ['--only', 'ours,ws', '--rounds', '1', '--clients', '20', '--seconds', '0.5', '--save', saved]
    const { code, stderr } = await run([scenario, ...tiny], { command })
    assert.equal(code, 0, stderr)
    const { rows }: Results = JSON.parse(readFileSync(saved, 'utf8'))
    assert.ok(rows.length > 0)
    const named = (unit: string) => rows.filter(row => row.unit === unit).map(({ row }) => row)
    assert.deepEqual(
      named('µs a delivery'),
      named('deliveries/s').map(row => `${row}, server CPU`),
    )
    for (const { row, unit, rounds } of rows) {
      for (const name of ['ours', 'ws']) {
        const value = rounds[name]?.[0] ?? Number.NaN
        if (unit === 'faults') assert.equal(value, 0, `${row}, ${name}`)
        else assert.ok(Number.isFinite(value) && value > 0, `${row}, ${name}: ${value}`)
      }
    }
  })
}

it('a receiver that sleeps is in the names of the rows', async t => {
  const saved = `${folder(t)}/results.json`
  const tiny = ['--only', 'ours', '--rounds', '1', '--clients', '20', '--seconds', '0.5', '--save', saved]
  const { code, stdout, stderr } = await run(['echo', ...tiny, '--receiver', 'sleep'], { command })
  assert.equal(code, 0, stderr)
  assert.match(stdout, /; receiver: sleep\n/)
  const { rows, scale }: Results = JSON.parse(readFileSync(saved, 'utf8'))
  assert.equal(scale.receiver, 'sleep')
  const rates = rows.filter(({ unit }) => unit === 'deliveries/s')
  assert.deepEqual(
    rates.map(({ row }) => row),
    ['64 B, 1 in flight, receiver sleeps', '64 B, 16 in flight, receiver sleeps'],
  )
  for (const { rounds, busy } of rates) {
    assert.ok(rounds.ours![0]! > 0)
    const { load } = busy.ours![0]!
    assert.ok(load > 0 && load <= 1, `${load}`)
  }
})

const scenarios = 'known are fanout, rooms, echo, latency, connect, memory, chain, deflate, slow-client'
const refused: Readonly<Record<string, string>> = {
  '--only ours fan': `unknown scenario fan; ${scenarios}`,
  '--only ours echo toString': `unknown scenario toString; ${scenarios}`,
  '--only ours,Ws echo': 'unknown contestant Ws; known are ours, ws, socket.io, bun',
  '--only ours --receiver nap': 'unknown receiver nap; known are poll, sleep',
  '--only ours --receiver Poll': 'unknown receiver Poll; known are poll, sleep',
  '--only ours --receiver=': 'unknown receiver ; known are poll, sleep',
}
for (const [argv, sentence] of Object.entries(refused)) {
  it(`a name that it does not know is refused with those that it knows: ${argv}`, async () => {
    const { code, stderr } = await run(argv.split(' '), { command })
    assert.deepEqual({ code, stderr }, { code: 2, stderr: `${sentence}\n` })
  })
}
