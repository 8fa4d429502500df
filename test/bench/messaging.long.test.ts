import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { it } from 'node:test'
import { promisify } from 'node:util'
import { root } from '../support/cli.ts'

it('the benchmark of messaging runs, and every answer is correct', async () => {
  const argv = ['--import', 'tsx', 'bench/messaging.ts', '--only', 'ours', '--rounds', '1', '--seconds', '1']
  const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: root, timeout: 240_000 })
  const names = ['TCP', 'TCP, --messaging-resume', 'WebSocket', 'WebSocket, --messaging-resume']
  const rows = names.map(
    name => String.raw` {2}${name}: [1-9]\d* requests/s \([1-9]\d*\), µs per request: server \d+, client \d+\n`,
  )
  assert.match(stdout, new RegExp(`\n1 in flight\n${rows.join('')}100 in flight\n${rows.join('')}$`))
})
