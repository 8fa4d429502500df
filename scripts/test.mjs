// Runs the tests: all, or the files named. Node 20 finds no TypeScript by itself and calls that a success, so they are listed here.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
const named = process.argv.slice(2)
const found = readdirSync(join(root, 'test'), { recursive: true })
  .filter(file => file.endsWith('.test.ts'))
  .map(file => join('test', file))
  .sort()
const files = named.length > 0 ? named : found
if (files.length === 0) {
  console.error('no test found')
  process.exit(1)
}
const run = (script, ...args) =>
  spawnSync(process.execPath, [...script, ...args], { cwd: root, stdio: 'inherit' }).status ?? 1
// The command line is tested as it is shipped.
if (run([join(root, 'scripts/build.mjs')]) !== 0) process.exit(1)
run(['--import', 'tsx', join(root, 'scripts/find-redis.mjs')])
run(['--import', 'tsx', join(root, 'scripts/find-chromium.mjs')])
process.exit(run(['--import', 'tsx', '--test', '--test-reporter=spec', '--test-timeout=60000'], ...files))
