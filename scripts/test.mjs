// Runs the quick tests, with --long the long ones (*.long.test.ts), or the given files.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const root = dirname(import.meta.dirname)
/** Quick test files of a folder in one process: loading the server takes longer than most tests. */
const FILES_PER_PROCESS = 8
/** Milliseconds for a test, and for a process. Tests have shorter deadlines. */
const [TIMEOUT, LONG_TIMEOUT] = [300_000, 900_000]
const LONG = '.long.test.ts'

const [option, ...named] = process.argv.slice(2)
const isLong = option === '--long'
const given = isLong || option === undefined ? named : [option, ...named]
const all = readdirSync(join(root, 'test'), { recursive: true })
  .filter(file => file.endsWith('.test.ts'))
  .map(file => join('test', file))
  .sort()
/** Long tests that measure time or memory, or use all cores. */
const ALONE = /^test\/(bench|peer|examples\/fleet|http\/attacks|filters\/messaging\/(files|peers|resumption)|storage)/
const files = given.length > 0 ? given : all.filter(file => file.endsWith(LONG) === isLong)

const node = (...args) => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1
// Tests run the built command.
for (const script of ['build.mjs', 'compile-tests.mjs']) if (node(join(root, 'scripts', script)) !== 0) process.exit(1)

const builtFile = file => join('.build', file.replace(/\.ts$/, '.js'))
const long = files.filter(file => file.endsWith(LONG))
const quick = files.filter(file => !file.endsWith(LONG))
// Quick tests mostly wait, so there are more processes than cores.
const groups = [
  [filesOfProcesses(quick.map(builtFile)), 4, TIMEOUT],
  [long.filter(file => ALONE.test(file)).map(builtFile), 1, LONG_TIMEOUT],
  [long.filter(file => !ALONE.test(file)).map(builtFile), 2, LONG_TIMEOUT],
]
/** Kills the processes of the running tests; returns whether there were any. */
let endGroup = () => false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    endGroup()
    process.exit(1)
  })
}
let code = 0
for (const [group, concurrency, timeout] of groups)
  if (group.length > 0) code = Math.max(code, await runTests(group, concurrency, timeout))
process.exit(code)

/** Writes a file for each process, which imports its test files. */
function filesOfProcesses(paths) {
  const folder = join('.build', 'processes')
  mkdirSync(join(root, folder))
  /** Test files of each process. */
  const processes = []
  /** The last process of each folder. */
  const newest = new Map()
  for (const path of paths) {
    const last = newest.get(dirname(path))
    if (last !== undefined && last.length < FILES_PER_PROCESS) last.push(path)
    else {
      const files = [path]
      processes.push(files)
      newest.set(dirname(path), files)
    }
  }
  return processes.map((files, number) => {
    const file = join(folder, `${number}.js`)
    writeFileSync(join(root, file), files.map(path => `import '${relative(folder, path)}'\n`).join(''))
    return file
  })
}

/** Runs test files, that many at a time; resolves with the exit code. */
async function runTests(paths, concurrency, timeout) {
  const runner = spawn(
    process.execPath,
    [
      '--enable-source-maps',
      '--test',
      `--test-concurrency=${concurrency}`,
      `--test-timeout=${timeout}`,
      `--test-reporter=${join(root, 'scripts/test-reporter.mjs')}`,
      '--test-reporter-destination=stdout',
      ...paths,
    ],
    // In its own process group, so that all processes of the tests can be killed at the end.
    { cwd: root, stdio: 'inherit', detached: true },
  )
  endGroup = () => {
    try {
      process.kill(-runner.pid, 'SIGKILL')
      return true
    } catch {
      return false
    }
  }
  const [status] = await once(runner, 'exit')
  if (endGroup()) console.error('killed processes that tests had left')
  return status ?? 1
}
