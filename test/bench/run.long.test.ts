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

it('connects and idle clients of this checkout, another one and ws are measured', async t => {
  const saved = `${folder(t)}/results.json`
  const tiny = ['--rounds', '1', '--clients', '50', '--idle', '200', '--seconds', '0.1', '--save', saved]
  const contestants = ['--only', 'ours,before,ws', '--before', root]
  const { code, stdout, stderr } = await run(['connect', 'idle', ...contestants, ...tiny], { command })
  assert.equal(code, 0, stderr)
  assert.match(stdout, / ours +before +ws +ours\/before +ours\/ws /)
  const { rows, versions }: Results = JSON.parse(readFileSync(saved, 'utf8'))
  assert.equal(versions.before, versions.ours)
  assert.deepEqual(
    rows.map(({ row, unit }) => `${row}: ${unit}`),
    [
      '100 clients: clients/s',
      '100 clients, server CPU: µs a client',
      'empty server, heap: MiB',
      '200 idle clients, heap: KiB a client',
      'empty server, RSS: MiB',
      '200 idle clients, RSS: KiB a client',
    ],
  )
  for (const { row, rounds } of rows) {
    for (const name of ['ours', 'before', 'ws']) {
      const value = rounds[name]?.[0] ?? Number.NaN
      // A server may release more memory than 200 clients need.
      assert.ok(Number.isFinite(value) && (value > 0 || row.includes('idle')), `${row}, ${name}: ${value}`)
    }
  }
})

it('the chain is measured without sockets', async t => {
  const saved = `${folder(t)}/results.json`
  const tiny = ['--only', 'ours', '--rounds', '1', '--clients', '20', '--seconds', '0.1', '--save', saved]
  const { code, stderr } = await run(['chain', ...tiny], { command })
  assert.equal(code, 0, stderr)
  const { rows }: Results = JSON.parse(readFileSync(saved, 'utf8'))
  const costs = rows.filter(({ unit }) => unit === 'ns a message')
  assert.equal(costs.length, 6)
  for (const { row, rounds } of costs) assert.ok(rounds.ours![0]! > 0, row)
})

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

const scenarios = 'known are fanout, centrifuge, rooms, echo, latency, connect, idle, chain, deflate, slow-client'
const refused: Readonly<Record<string, string>> = {
  '--only ours fan': `unknown scenario fan; ${scenarios}`,
  '--only ours echo toString': `unknown scenario toString; ${scenarios}`,
  '--only ours,Ws echo': 'unknown contestant Ws; known are ours, kept, centrifuge, centrifuge-kept, ws, socket.io, bun',
  '--before /no/where --only ours':
    '--before: a checkout has dist/bin/fws-server.js or bin/fws-server.ts, received "/no/where"',
  '--only ours,before echo': 'contestant before needs --before PATH, another checkout of this project',
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
