import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { selfSigned } from './certificates.ts'
import { folder, root, runModule } from './cli.ts'
import { until } from './peer.ts'
import {
  type RedisOptions,
  type RedisServer,
  skipWithoutOwn,
  startRedis,
  startRedisCluster,
  startSentinelSet,
} from './redis.ts'
import { NO_REDIS } from './redis-binary.ts'

interface Test {
  after(fn: () => Promise<void>): void
}

async function redis(t: Test, options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedis(options)
  t.after(() => server.stop())
  return server
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('a Redis of the tests', { skip: skipWithoutOwn }, () => {
  it('returns the replies of Redis', async t => {
    const server = await redis(t)
    assert.equal(await server.command('SET', 'k', 'grün'), 'OK')
    assert.equal(await server.command('GET', 'k'), 'grün')
    assert.equal(await server.command('GET', 'absent'), null)
    assert.equal(await server.command('INCR', 'n'), 1)
    assert.deepEqual(await server.command('EVAL', "return {1, 'a', {}, {'b'}}", '0'), [1, 'a', [], ['b']])
    await assert.rejects(server.command('INCR', 'k'), { message: 'ERR value is not an integer or out of range' })
  })

  it('accepts a reply in many pieces', async t => {
    const server = await redis(t)
    const long = 'ü'.repeat(1_000_000)
    await server.command('RPUSH', 'list', long, 'short')
    assert.deepEqual(await server.command('LRANGE', 'list', '0', '-1'), [long, 'short'])
  })

  it('is standalone, has no persistence, and accepts directives', async t => {
    const [one, two] = await Promise.all([redis(t, { config: { maxmemory: '5mb' } }), redis(t)])
    await one.command('SET', 'k', 'v')
    assert.equal(await two.command('GET', 'k'), null)
    assert.deepEqual(await one.command('CONFIG', 'GET', 'maxmemory'), ['maxmemory', '5242880'])
    assert.deepEqual(await one.command('CONFIG', 'GET', 'save'), ['save', ''])
    assert.deepEqual(await one.command('CONFIG', 'GET', 'appendonly'), ['appendonly', 'no'])
  })

  it('has its password in its URL', async t => {
    const server = await redis(t, { config: { requirepass: 's3cret' } })
    assert.equal(server.url, `redis://:s3cret@127.0.0.1:${server.port}`)
    assert.equal(await server.command('PING'), 'PONG')
  })

  it('supports TLS', async t => {
    const { key, cert } = await selfSigned()
    const server = await redis(t, { tls: { key, cert } })
    assert.equal(server.url, `rediss://127.0.0.1:${server.port}`)
    assert.equal(await server.command('PING'), 'PONG')
  })

  it('answers nothing while it is paused, and everything later', async t => {
    const server = await redis(t)
    server.pause()
    let answered = false
    const answer = server.command('PING').finally(() => {
      answered = true
    })
    const other = await redis(t)
    await other.command('PING')
    assert.equal(answered, false)
    server.resume()
    assert.equal(await answer, 'PONG')
  })

  it('can be killed, and restarts empty on its port', async t => {
    const server = await redis(t)
    const { pid, port } = server
    await server.command('SET', 'k', 'v')
    await server.kill()
    assert.equal(lives(pid!), false)
    await assert.rejects(server.command('PING'), { code: 'ECONNREFUSED' })
    await server.restart()
    assert.equal(server.port, port)
    assert.notEqual(server.pid, pid)
    assert.equal(await server.command('GET', 'k'), null)
  })

  it('starts on the given port, or reports why not', async t => {
    const first = await redis(t)
    await assert.rejects(startRedis({ port: first.port }), /redis exited at start:.*Address already in use/s)
    await first.stop()
    assert.equal((await redis(t, { port: first.port })).port, first.port)
  })

  it('stops twice, paused and killed, and removes its folder', async () => {
    const [paused, killed] = await Promise.all([startRedis(), startRedis()])
    const [, dir] = (await paused.command('CONFIG', 'GET', 'dir')) as string[]
    const { pid } = paused
    paused.pause()
    await killed.kill()
    await Promise.all([paused.stop(), paused.stop(), killed.stop()])
    await paused.stop()
    assert.deepEqual([lives(pid!), existsSync(dir!)], [false, false])
  })

  for (const state of ['running', 'paused']) {
    it(`ends when its test process is killed, also ${state}`, async () => {
      const code = `
        import { startRedis } from './test/support/redis.ts'
        const server = await startRedis()
        const [, dir] = await server.command('CONFIG', 'GET', 'dir')
        ${state === 'paused' ? 'server.pause()' : ''}
        console.log(JSON.stringify({ pid: server.pid, dir }))`
      const { PATH = '' } = process.env
      const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', code]
      const tests = spawn(process.execPath, args, { cwd: root, env: { PATH } })
      const [line] = await once(tests.stdout, 'data')
      const { pid, dir } = JSON.parse(String(line))
      assert.deepEqual([lives(pid), existsSync(dir)], [true, true])
      tests.kill('SIGKILL')
      await until(() => !lives(pid) && !existsSync(dir), 'the end of redis and its folder')
    })
  }
})

describe('a Redis Cluster of the tests', { skip: skipWithoutOwn }, () => {
  it('has three connected masters, and accepts a restarted one with its slots', async t => {
    const cluster = await startRedisCluster()
    t.after(() => cluster.stop())
    const ports = cluster.nodes.map(({ port }) => port)
    for (const node of cluster.nodes) {
      const slots = (await node.command('CLUSTER', 'SLOTS')) as [number, number, [string, number]][]
      const sorted = slots.toSorted(([a], [b]) => a - b)
      assert.deepEqual(
        sorted.map(([first, last, [host, port]]) => [first, last, host, port]),
        [
          [0, 5460, '127.0.0.1', ports[0]],
          [5461, 10921, '127.0.0.1', ports[1]],
          [10922, 16383, '127.0.0.1', ports[2]],
        ],
      )
    }
    const [first, second] = cluster.nodes
    // CLUSTER KEYSLOT k is 7629.
    assert.equal(await second!.command('SET', 'k', 'v'), 'OK')
    await assert.rejects(first!.command('GET', 'k'), { message: `MOVED 7629 127.0.0.1:${ports[1]}` })
    await second!.restart()
    const { myself } = Object.fromEntries(
      String(await second!.command('CLUSTER', 'NODES'))
        .split('\n')
        .filter(line => line.includes('myself'))
        .map(line => ['myself', line.split(' ').at(-1)]),
    )
    assert.equal(myself, '5461-10921')
  })
})

describe('Sentinels of the tests', { skip: skipWithoutOwn }, () => {
  it('report the replica when the master is killed', async t => {
    const set = await startSentinelSet()
    t.after(() => set.stop())
    assert.equal(set.sentinels.length, 3)
    assert.deepEqual(await set.currentMaster(), { host: '127.0.0.1', port: set.master.port })
    await set.master.command('SET', 'k', 'v')
    await set.master.command('WAIT', '1', '5000')
    const next = await set.failover()
    assert.deepEqual(next, { host: '127.0.0.1', port: set.replica.port })
    assert.deepEqual(await set.currentMaster(), next)
    assert.equal(await set.replica.command('GET', 'k'), 'v')
    await set.replica.command('SET', 'k', 'w')
  })
})

describe('without Redis', () => {
  it('tests that need it report what to do', async () => {
    const code = `import { startRedis } from './test/support/redis.ts'; await startRedis()`
    const { code: exit, stderr } = await runModule(code, { PATH: '/nonexistent' })
    assert.equal(exit, 1)
    assert.ok(stderr.includes(`Error: ${NO_REDIS}\n`), stderr)
  })

  it('REDIS_URL is used by tests that need no server of their own', { skip: skipWithoutOwn }, async t => {
    const { url } = await redis(t)
    const code = `
      import assert from 'node:assert/strict'
      import { skipWithoutOwn, startRedis } from './test/support/redis.ts'
      const server = await startRedis()
      assert.equal(await server.command('PING'), 'PONG')
      assert.deepEqual([server.url, server.pid], [process.env.REDIS_URL, undefined])
      await server.stop()
      assert.match(skipWithoutOwn, /^no redis-server and no valkey-server on the PATH: /)
      assert.throws(() => server.pause(), { message: skipWithoutOwn })
      await assert.rejects(startRedis({ port: 1 }), { message: skipWithoutOwn })`
    const { code: exit, stderr } = await runModule(code, { PATH: '/nonexistent', REDIS_URL: url })
    assert.deepEqual({ exit, stderr }, { exit: 0, stderr: '' })
  })

  const provide = `import './scripts/find-redis.mjs'`

  it('it is installed before the tests, if possible, without starting a service', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async t => {
    const bin = folder(t)
    const script = async (name: string, text: string) => {
      await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`)
      await chmod(join(bin, name), 0o755)
    }
    const installed = `printf '#!/bin/sh\\n' > ${bin}/redis-server; /bin/chmod 755 ${bin}/redis-server`
    const forbidden = '[ -x /usr/sbin/policy-rc.d ] || exit 1'
    await script('apt-get', `${forbidden}; echo "apt-get $*"; if [ "$1" = install ]; then ${installed}; fi`)
    await script('update-rc.d', 'echo "update-rc.d $*"')
    const policy = existsSync('/usr/sbin/policy-rc.d')
    const { code, stderr } = await runModule(provide, { PATH: bin })
    assert.equal(code, 0)
    assert.deepEqual(stderr.split('\n'), [
      'no redis-server on the PATH: installing the Debian package',
      'apt-get update',
      'apt-get install -y --no-install-recommends redis-server',
      'update-rc.d redis-server disable',
      '',
    ])
    assert.equal(existsSync('/usr/sbin/policy-rc.d'), policy)
    const { code: again, stderr: more } = await runModule(provide, { PATH: bin })
    assert.deepEqual([again, more], [0, ''])
  })

  it('the tests print what to do before they start, if it cannot be installed', async t => {
    const empty = folder(t)
    const { code, stderr } = await runModule(provide, { PATH: empty })
    assert.deepEqual({ code, stderr }, { code: 0, stderr: `${NO_REDIS}\n` })
  })

  it('REDIS_URL suffices: nothing is installed', async t => {
    const empty = folder(t)
    const { code, stderr } = await runModule(provide, { PATH: empty, REDIS_URL: 'redis://127.0.0.1' })
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  })
})
