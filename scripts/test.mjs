// Runs the quick tests, with --long the long ones (*.long.test.ts), or the given files.
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
/** Milliseconds for a test, and for a file. Tests have shorter deadlines. */
const TIMEOUT = 300_000

const [option, ...named] = process.argv.slice(2)
const isLong = option === '--long'
const given = isLong || option === undefined ? named : [option, ...named]
const all = readdirSync(join(root, 'test'), { recursive: true })
  .filter(file => file.endsWith('.test.ts'))
  .map(file => join('test', file))
  .sort()
/** Concurrent test files. Quick tests mostly wait; long ones measure time and use both cores. */
const concurrency = isLong ? 1 : 3
const files = given.length > 0 ? given : all.filter(file => file.endsWith('.long.test.ts') === isLong)

const node = (...args) => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1
// Tests run the built command.
for (const script of ['build.mjs', 'compile-tests.mjs']) if (node(join(root, 'scripts', script)) !== 0) process.exit(1)

const compiled = files.map(file => join('.build', file.replace(/\.ts$/, '.js')))
const runner = spawn(
  process.execPath,
  [
    '--enable-source-maps',
    '--test',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${TIMEOUT}`,
    `--test-reporter=${join(root, 'scripts/test-reporter.mjs')}`,
    '--test-reporter-destination=stdout',
    ...compiled,
  ],
  // In its own process group, so that all processes of the tests can be killed at the end.
  { cwd: root, stdio: 'inherit', detached: true },
)
const endGroup = () => {
  try {
    process.kill(-runner.pid, 'SIGKILL')
    return true
  } catch {
    return false
  }
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    endGroup()
    process.exit(1)
  })
}
runner.on('exit', code => {
  if (endGroup()) console.error('killed processes that tests had left')
  process.exit(code ?? 1)
})
