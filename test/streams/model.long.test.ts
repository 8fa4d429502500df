import { it } from 'node:test'
import { runModels } from '../support/stream-model.ts'

const RUNS = 20_000

it(`${RUNS} more random runs`, async () => {
  await runModels(1_000_000, RUNS)
})
