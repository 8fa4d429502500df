import assert from 'node:assert/strict'
import { it } from 'node:test'
import { runModels } from '../support/stream-model.ts'

it('every client gets what follows its position without a hole, or is informed of the loss: 2,000 random runs', async () => {
  const { losses, recovered } = await runModels(1, 2000)
  // Both outcomes are common.
  assert.ok(losses > 1000 && recovered > 1000, JSON.stringify({ losses, recovered }))
})
