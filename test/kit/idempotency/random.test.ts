import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { runIdempotency } from '../../support/idempotency-model.ts'
import { openMemory } from '../../support/memory-storage.ts'

it('loses no request and runs none twice without repeated', async () => {
  const sums = { runs: 0, repeated: 0, kills: 0, losses: 0 }
  await fc.assert(
    fc.asyncProperty(fc.integer(), async seed => {
      const check = await runIdempotency(openMemory().streams!, seed)
      for (const [name, count] of Object.entries(check)) sums[name as keyof typeof sums] += count
    }),
    { numRuns: 20, endOnFailure: true },
  )
  for (const [name, sum] of Object.entries(sums)) assert.ok(sum > 0, `no ${name}`)
})
