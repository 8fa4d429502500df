// `npm run bench`: every benchmark, one after the other; `npm run bench -- fanout`: the named ones.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const named = process.argv.slice(2)
for (const name of named.length > 0 ? named : ['chain', 'fanout', 'memory']) {
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', join(import.meta.dirname, `${name}.ts`)], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}
