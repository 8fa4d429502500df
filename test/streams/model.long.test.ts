import { it } from 'node:test'
import { runModels } from '../support/stream-model.ts'

/** 200,000 take ten minutes. */
const RUNS = Number(process.env.FWS_MODEL_RUNS ?? 30_000)

it(`${RUNS} more random runs`, async () => {
  await runModels(1_000_000, RUNS)
})
