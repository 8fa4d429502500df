// Runs the benchmarks: `run.mjs` the headline rows, `--full` all, `run.mjs NAME...` scenarios by name.
// `--only ours,before,ws,bun`, `--before PATH` another checkout of this project, `--rounds N`, `--seconds N`, `--clients N`, `--idle N`,
// `--receiver poll|sleep`, `--save FILE`. The other servers are installed at first use. `run.mjs soak` see soak.ts.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { register } from 'tsx/esm/api'

const here = import.meta.dirname
const only = process.argv.find((arg, i) => arg.startsWith('--only=') || process.argv[i - 1] === '--only')
const isSoak = process.argv[2] === 'soak'
const needsPeers = !isSoak && (only === undefined || /socket\.io|bun/.test(only))

if (!existsSync(join(here, '../dist'))) fail('not built: npm run build')
if (needsPeers && !existsSync(join(here, 'node_modules'))) run('npm', ['ci', '--prefix', here])
// If npm does not run install scripts, Bun has no binary yet.
const bun = join(here, 'node_modules/.bin/bun')
if (needsPeers && spawnSync(bun, ['--version']).status !== 0)
  run(process.execPath, [join(here, 'node_modules/bun/install.js')])

register()
await import(isSoak ? './soak.ts' : './suite.ts')

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) fail(`${command} ${args.join(' ')} exited with ${status}`)
}

function fail(message) {
  console.error(message)
  process.exit(1)
}
