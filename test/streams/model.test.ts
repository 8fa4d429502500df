import assert from 'node:assert/strict'
import { it } from 'node:test'
import { runModels } from '../support/stream-model.ts'

const RUNS = 2000

it(`every client gets what follows its position without a hole, or is informed of the loss: ${RUNS} random runs`, async () => {
  const { losses, recovered } = await runModels(1, RUNS)
  // Both outcomes are common.
  assert.ok(losses > RUNS && recovered > RUNS, JSON.stringify({ losses, recovered }))
})
