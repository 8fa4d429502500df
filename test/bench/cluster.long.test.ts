import assert from 'node:assert/strict'
import { it } from 'node:test'
import { root, run } from '../support/cli.ts'
import { skipWithoutOwn } from '../support/redis.ts'

it('the benchmark of two nodes still runs, and every delivery is the right one', { skip: skipWithoutOwn }, async () => {
  const command = ['--import', import.meta.resolve('tsx'), `${root}/bench/cluster.ts`]
  const { code, stdout, stderr } = await run(['--quick', '--only', 'fws'], { command })
  assert.equal(code, 0, stderr)
  assert.match(stdout, /fws +[\d,]+ deliveries\/s, across nodes p50 /)
})
