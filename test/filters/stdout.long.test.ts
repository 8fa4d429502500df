import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { folder, type Launched, launch } from '../support/cli.ts'
import { serve, until } from '../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../support/redis.ts'

const RULES = ['news size=100000 ttl=1h']

/** Appends each line to a file, and stores its position then. */
const READER = `
  const { appendFileSync, renameSync, writeFileSync } = require('node:fs')
  const lines = require('node:readline').createInterface({ input: process.stdin })
  lines.on('line', line => {
    const { data, position } = JSON.parse(line)
    appendFileSync('out', data + '\\n')
    if (process.argv[1] !== 'reader') return
    writeFileSync('at.json.tmp', JSON.stringify(position))
    renameSync('at.json.tmp', 'at.json')
  })`

/** A node that appends, and a pipeline `fws-server -f streams stdout | reader`, of which processes are killed. */
async function scene(t: TestContext, commit: 'server' | 'reader') {
  const redis = await startRedis()
  t.after(() => redis.stop())
  const cwd = folder(t)
  const env = { FWS_REDIS_URL: redis.url }
  const writer = await serve(t, {
    storage: 'redis',
    'redis-url': redis.url,
    filters: ['streams'],
    'streams-rules': RULES,
  })
  const argv = ['-p', '0', '-f', 'streams', 'stdout', '--storage', 'redis', '--streams-rules', ...RULES]
  argv.push(
    '--stdout-topic',
    'news',
    '--stdout-framing',
    'json',
    '--stdout-position',
    'at.json',
    '--stdout-commit',
    commit,
  )
  const received = () =>
    existsSync(join(cwd, 'out')) ? readFileSync(join(cwd, 'out'), 'utf8').split('\n').slice(0, -1).map(Number) : []
  let appended = 0
  const append = async () => {
    const entries = Array.from({ length: 100 }, (_, n) => ({ payload: `${appended + n}` }))
    appended += entries.length
    await writer.append('news', entries)
  }
  let reader: ChildProcess
  let server: Launched
  return {
    received,
    appended: () => appended,
    async start() {
      reader = spawn(process.execPath, ['-e', READER, commit], { cwd, stdio: ['pipe', 'ignore', 'inherit'] })
      t.after(() => void reader.kill('SIGKILL'))
      server = await launch(t, argv, { cwd, env, stdout: reader.stdin! })
      reader.stdin!.destroy()
    },
    /** Kills a process while entries are appended. */
    async kill(victim: 'reader' | 'server') {
      let isOver = false
      const appending = (async () => {
        for (let i = 0; i < 25; i++) await append()
        // A server notices that its reader is gone when it writes.
        while (!isOver) await Promise.all([append(), sleep(100)])
      })()
      try {
        const before = received().length
        await until(() => received().length > before + 100, 'more lines')
        const ended = once(reader, 'exit')
        if (victim === 'reader') reader.kill('SIGKILL')
        else await server.kill()
        await ended
        await server.ended()
      } finally {
        isOver = true
        await appending
      }
    },
  }
}

/** How many entries came again; asserts that none is missing, and that each delivery is in order. */
function repeats(entries: readonly number[], count: number): number {
  let next = 0
  let repeated = 0
  for (const [i, entry] of entries.entries()) {
    assert.ok(entry <= next, `line ${i}: ${entry} after ${next - 1}`)
    if (i > 0 && entry !== entries[i - 1]! + 1) repeated += next - entry
    next = Math.max(next, entry + 1)
  }
  assert.equal(next, count)
  return repeated
}

describe('filter stdout with a position', { skip: skipWithoutOwn }, () => {
  it('loses nothing when its reader, which stores the position, or the server is killed', async t => {
    const { start, kill, appended, received } = await scene(t, 'reader')
    await start()
    for (const victim of ['reader', 'server', 'reader'] as const) {
      await kill(victim)
      await start()
    }
    await until(() => received().at(-1) === appended() - 1, 'all entries', 60_000)
    // Between the line and its position.
    assert.ok(repeats(received(), appended()) <= 3)
  })

  it('loses nothing when the server, which stores the position, is killed', async t => {
    const { start, kill, appended, received } = await scene(t, 'server')
    await start()
    for (let i = 0; i < 3; i++) {
      await kill('server')
      await start()
    }
    await until(() => received().at(-1) === appended() - 1, 'all entries', 60_000)
    // One page for each kill.
    assert.ok(repeats(received(), appended()) <= 3 * 256)
  })
})
