import assert from 'node:assert/strict'
import { it } from 'node:test'
import { runPresences } from '../../support/presence-model.ts'

const RUNS = 100

it(`all nodes list the clients of all nodes, and each user joins and leaves in turn: ${RUNS} random runs`, async () => {
  const { kills, epochs } = await runPresences(1, RUNS)
  // Both are common.
  assert.ok(kills > RUNS && epochs > RUNS / 4, JSON.stringify({ kills, epochs }))
})
