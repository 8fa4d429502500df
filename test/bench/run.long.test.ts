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

it('a name that it does not know is refused with those that it knows', async () => {
  const { code, stderr } = await run(['--only', 'ours', 'fan'], { command })
  assert.deepEqual(
    { code, stderr },
    {
      code: 2,
      stderr:
        'unknown scenario fan; known are fanout, rooms, echo, latency, connect, memory, chain, deflate, slow-client\n',
    },
  )
})
