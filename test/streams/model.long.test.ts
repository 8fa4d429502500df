import { it } from 'node:test'
import { runModels } from '../support/stream-model.ts'

/** 200,000 take 15 minutes: `FWS_MODEL_RUNS=200000`. */
const RUNS = Number(process.env.FWS_MODEL_RUNS ?? 20_000)

it(`${RUNS} more random runs`, async () => {
  await runModels(1_000_000, RUNS)
})
