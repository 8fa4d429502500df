import { it } from 'node:test'
import { runPresences } from '../../support/presence-model.ts'

const RUNS = 500

it(`all nodes list the clients of all nodes: ${RUNS} more random runs`, async () => {
  await runPresences(1000, RUNS)
})
