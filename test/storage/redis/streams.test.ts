import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { StreamBounds } from '../../../src/index.ts'
import { until } from '../../support/peer.ts'
import { type RedisConfig, type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { type Chosen, type OpenedRedis, openRedis } from '../../support/redis-storage.ts'
import { StreamNode } from '../../support/stream-node.ts'

interface Opened {
  readonly storage: OpenedRedis
  readonly node: StreamNode
}

async function opened(t: TestContext, redis: RedisServer, chosen: Chosen = {}): Promise<Opened> {
  const storage = await openRedis({ 'redis-port': redis.port, 'redis-key': keyOf(t), ...chosen })
  t.after(() => storage.close?.())
  return { storage, node: new StreamNode(storage.streams!) }
}

async function own(t: TestContext, config: RedisConfig = {}): Promise<RedisServer> {
  const redis = await startRedis({ config })
  t.after(() => redis.stop())
  return redis
}

const keyOf = (t: TestContext) => `test-${t.name.replace(/\W+/g, '-').slice(0, 40)}`

/** Keys of the only stream of a test, by what they hold. */
async function keysOf(t: TestContext, redis: RedisServer): Promise<ReadonlyMap<string, string>> {
  const keys = (await redis.command('KEYS', `${keyOf(t)}:stream:*`)) as string[]
  return new Map(keys.map(key => [/\}:?(\w*)/.exec(key)![1]!, key]))
}

const ENTRY = { entries: [{ payload: 'x' }] }

describe('redis streams', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('SCRIPT FLUSH between appends does not matter', async t => {
    const { node } = await opened(t, redis)
    for (let i = 0; i < 5; i++) {
      await node.say('t', `${i}`)
      await redis.command('SCRIPT', 'FLUSH')
    }
    assert.deepEqual(await node.payloads('t'), ['0', '1', '2', '3', '4'])
    for (const use of [() => node.top('t'), () => node.streams.trim(node.ref('t'), { epoch: 'x', offset: 1 })]) {
      await redis.command('SCRIPT', 'FLUSH')
      await use()
    }
    await redis.command('SCRIPT', 'FLUSH')
    await node.streams.remove('t')
    assert.equal((await node.top('t')).offset, 0)
  })

  it('the keys of a stream are in one slot, and expire: entries after their ttl, the others after ten times, at least an hour', async t => {
    const { node } = await opened(t, redis)
    for (const [ttlMs, life] of [
      [60_000, 3_600_000],
      [3_600_000, 36_000_000],
    ] as const) {
      node.bounds = { ...node.bounds, ttlMs }
      await node.append('a {topic} with {braces', [{ ...ENTRY, key: 'k', set: { a: '1' } }])
      const keys = await keysOf(t, redis)
      const left = async (what: string) => Number(await redis.command('PTTL', keys.get(what)!))
      const isAbout = (ms: number, expected: number) => ms <= expected && ms > expected - 5000
      assert.ok(isAbout(await left('entries'), ttlMs))
      assert.ok(isAbout(await left(''), life))
      assert.ok(isAbout(await left('calls'), life))
      assert.ok(isAbout(await left('key'), 600_000))
      assert.match(keys.get('')!, /^[\w-]+:stream:\{[\w-]{32}\}$/)
      assert.equal(keys.size, 4)
      await node.streams.remove('a {topic} with {braces')
    }
  })

  it('read and tops extend the life of a stream', async t => {
    const { node } = await opened(t, redis)
    await node.say('t', 'x')
    const meta = (await keysOf(t, redis)).get('')!
    for (const use of [() => node.read('t'), () => node.top('t')]) {
      await redis.command('PEXPIRE', meta, '1000')
      await use()
      assert.ok(Number(await redis.command('PTTL', meta)) > 3_000_000)
    }
  })

  it('bounds without a limit are accepted', async t => {
    const { node } = await opened(t, redis)
    node.bounds = { size: Number.POSITIVE_INFINITY, ttlMs: Number.POSITIVE_INFINITY, full: 'trim' }
    await node.say('t', 'a', 'b')
    const { entries } = await node.streams.read(node.ref('t'), {
      from: 'oldest',
      entries: Number.POSITIVE_INFINITY,
      bytes: Number.POSITIVE_INFINITY,
    })
    assert.equal(entries.length, 2)
  })

  it('entries that were appended without a bound of bytes count as empty, also between others', async t => {
    const { node } = await opened(t, redis)
    const { bounds } = node
    const say = async (payload: string, changed: Partial<StreamBounds>) => {
      node.bounds = { ...bounds, ...changed }
      const [outcome] = await node.append('t', [{ entries: [{ payload }] }])
      return 'position' in outcome! ? outcome.position.offset : outcome!.refused
    }
    const refuse = { bytes: 10, full: 'refuse' } as const
    const steps: [payload: string, bounds: Partial<StreamBounds>, expected: number | 'full'][] = [
      ['a'.repeat(20), {}, 1],
      ['b'.repeat(10), refuse, 2],
      ['c', refuse, 'full'],
      ['d'.repeat(20), {}, 3],
      ['e'.repeat(9), refuse, 4],
      ['f', refuse, 5],
      ['g', refuse, 'full'],
      ['h', { bytes: 10 }, 6],
    ]
    for (const [payload, changed, expected] of steps)
      assert.equal(await say(payload, changed), expected, `${payload[0]} ${JSON.stringify(changed)}`)
    assert.deepEqual(await node.payloads('t'), ['f', 'h'])
    await node.streams.remove('t')
    assert.equal(await say('i'.repeat(10), refuse), 1)
    assert.equal(await say('j', refuse), 'full')
  })

  it('metadata that is lost begins an epoch without the old entries', async t => {
    const { node } = await opened(t, redis)
    const { epoch } = await node.say('t', 'a', 'b', 'c')
    for (const use of [() => node.say('t', 'd'), () => node.top('t'), () => node.read('t')]) {
      await redis.command('DEL', (await keysOf(t, redis)).get('')!)
      await use()
      assert.notEqual((await node.top('t')).epoch, epoch)
      await node.say('t', 'e')
    }
    assert.deepEqual(await node.payloads('t'), ['e'])
  })

  it('entries that are lost are trimmed, and the offsets go on', async t => {
    const { node } = await opened(t, redis)
    const { epoch } = await node.say('t', 'a', 'b')
    await redis.command('DEL', (await keysOf(t, redis)).get('entries')!)
    const { lost, floor } = await node.streams.read(node.ref('t'), {
      after: { epoch, offset: 1 },
      entries: 1,
      bytes: 1,
    })
    assert.deepEqual([lost, floor.offset], ['trimmed', 2])
    assert.deepEqual(await node.say('t', 'c'), { epoch, offset: 3 })
  })

  it('the calls of 256 nodes are remembered', async t => {
    const { node } = await opened(t, redis)
    const call = (n: number) => ({ node: `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`, call: 1 })
    for (let i = 0; i < 300; i++) await node.streams.append(node.ref('t'), [ENTRY], call(i))
    assert.equal(await redis.command('HLEN', (await keysOf(t, redis)).get('calls')!), 256)
    assert.deepEqual(await node.streams.append(node.ref('t'), [ENTRY], call(299)), [
      { position: await node.top('t'), repeated: false },
    ])
    assert.equal((await node.top('t')).offset, 300)
  })

  it('refuses a node that is no UUID', async t => {
    const { node } = await opened(t, redis)
    const appender = { node: 'node 1', call: 1 }
    await assert.rejects(async () => node.streams.append(node.ref('t'), [ENTRY], appender), {
      name: 'TypeError',
      message: 'the node of an append is a UUID, received "node 1"',
    })
  })

  it('10,000 entries from each of two nodes: all announcements on both are what a read gives', async t => {
    const nodes = [(await opened(t, redis)).node, (await opened(t, redis)).node]
    await Promise.all(nodes.map(async node => node.streams.listen('t')))
    await Promise.all(
      nodes.map(async (node, n) => {
        for (let i = 0, size = 1; i < 10_000; i += size) {
          size = Math.min(1 + ((i * 31) % 64), 10_000 - i)
          await node.say('t', ...Array.from({ length: size }, (_, j) => `${n}:${i + j}`))
        }
      }),
    )
    await until(() => nodes.every(node => node.announcements.at(-1)?.top.offset === 20_000), 'all announcements')
    const { entries } = await nodes[0]!.read('t')
    assert.equal(entries.length, 20_000)
    assert.ok(entries.every(({ offset }, i) => offset === i + 1))
    for (const [n, node] of nodes.entries()) {
      const payloads = entries.map(({ payload }) => String(payload)).filter(payload => payload.startsWith(`${n}:`))
      assert.deepEqual(
        payloads,
        Array.from({ length: 10_000 }, (_, i) => `${n}:${i}`),
      )
      assert.deepEqual(node.announced('t'), entries)
    }
  })

  it('a PUBLISH that Redis refuses is counted and logged; the entry is stored, and the node reads the top', async t => {
    await redis.command('ACL', 'SETUSER', 'mute', 'on', '>p', '~*', '&*', '+@all', '-publish')
    await redis.command('ACL', 'SETUSER', 'sender', 'on', '>p', '~*', '&*', '+@all')
    const { storage, node } = await opened(t, redis, { 'redis-user': 'sender', 'redis-password': 'p' })
    await node.streams.listen('t')
    await redis.command('ACL', 'SETUSER', 'sender', '-publish')
    const position = await node.say('t', 'a')
    await node.streams.remove('t')
    assert.equal(position.offset, 1)
    assert.deepEqual(node.announcements, [])
    assert.deepEqual(node.interruptions, [['t'], ['t']])
    assert.equal(storage.metrics!().refused_announcements_total, 2)
    const [line] = storage.logged.filter(({ msg }) => String(msg).includes('redis refuses announcements'))
    assert.match(String(line!.reason), /can't run this command|no permissions to run the 'publish' command/)
  })

  for (const missing of ['evalsha', 'eval', 'xadd', 'hset', 'xtrim', 'time'])
    it(`a user without ${missing} gets a clear error, and no stream is damaged`, async t => {
      await redis.command('ACL', 'SETUSER', 'less', 'reset', 'on', '>p', '~*', '&*', '+@all', `-${missing}`)
      const { node } = await opened(t, redis, { 'redis-user': 'less', 'redis-password': 'p' })
      const message = missing.startsWith('eval')
        ? new RegExp(`^redis ${missing.toUpperCase()}: NOPERM .*'${missing}' command`)
        : new RegExp(
            `^streams need the command ${missing.toUpperCase()}: .*; see the ACL in docs/operations/deployment.md$`,
          )
      for (const use of [() => node.say('t', 'a'), () => node.read('t'), () => node.top('t')])
        await assert.rejects(async () => use(), { name: 'Error', message })
      assert.equal((await keysOf(t, redis)).size, 0)
      await redis.command('ACL', 'SETUSER', 'less', `+${missing}`)
      assert.equal((await node.say('t', 'a')).offset, 1)
    })

  it('a user without the keys of streams gets a clear error', async t => {
    await redis.command('ACL', 'SETUSER', 'keyless', 'reset', 'on', '>p', `~${keyOf(t)}:l*`, '&*', '+@all')
    await redis.command('ACL', 'SETUSER', 'keyless', `~${keyOf(t)}:o*`, `~${keyOf(t)}:c*`, `~${keyOf(t)}:n*`)
    const { node } = await opened(t, redis, { 'redis-user': 'keyless', 'redis-password': 'p' })
    await assert.rejects(async () => node.say('t', 'a'), /^Error: redis EVAL: NOPERM /)
  })

  it('announcements that are not valid are counted and refused', async t => {
    const { storage, node } = await opened(t, redis)
    await node.streams.listen('t')
    await node.say('t', 'a')
    const channel = (await keysOf(t, redis)).get('')!
    for (const bytes of ['', 'x', '\x01', '\x01\x08epoch', '\x02\x00aaaaaaaaaaaa'])
      await redis.command('PUBLISH', channel, bytes)
    await node.say('t', 'b')
    await until(() => node.announcements.length === 2)
    assert.equal(storage.metrics!().invalid_announcements_total, 5)
    assert.ok(
      storage.logged.some(
        ({ msg }) =>
          msg ===
          'announcement refused: announcement of version none, this node reads 1; are all nodes of one release?',
      ),
    )
  })

  it('an entry of another program is an error of read that names its offset', async t => {
    const { node } = await opened(t, redis)
    await node.say('t', 'a')
    await redis.command('XADD', (await keysOf(t, redis)).get('entries')!, '2-1', 'e', 'foreign')
    await redis.command('HSET', (await keysOf(t, redis)).get('')!, 'top', '2')
    await assert.rejects(async () => node.read('t'), {
      message: 'stream of topic "t", offset 2: entry of a wrong length',
    })
  })

  it('a lost subscriber connection interrupts all topics, and those that are subscribed again; appends and readiness go on', async t => {
    const { storage, node } = await opened(t, redis)
    await Promise.all(['a', 'b'].map(async topic => node.streams.listen(topic)))
    assert.deepEqual(node.interruptions, [])
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => node.interruptions.length === 2, 'a new subscription')
    assert.deepEqual(node.interruptions, [undefined, ['a', 'b']])
    await node.say('a', 'x')
    await until(() => node.announced('a').length === 1)
    assert.equal(storage.streams!.isReady(), true)
  })
})

describe('redis streams, failures', { skip: skipWithoutOwn }, () => {
  it('full memory, a replica, or too few replicas: rejects with the error of Redis, and recovers', async t => {
    const redis = await own(t)
    const { node } = await opened(t, redis)
    await node.say('t', 'a')
    for (const [error, on, off] of [
      ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
      ['NOREPLICAS', ['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0']],
      ['READONLY', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
    ] as const) {
      const { epoch, offset } = await node.top('t')
      await redis.command(...on)
      const message = new RegExp(`^redis EVALSHA: ${error} [^:]*$`)
      await assert.rejects(async () => node.append('t', [{ ...ENTRY, set: { a: '1' } }]), { message })
      await assert.rejects(async () => node.append('new', [ENTRY]), { message })
      await redis.command(...off)
      // A node replaces its connections to a replica.
      await until(() => node.streams.isReady(), 'a connection')
      assert.deepEqual(await node.again('new', [ENTRY]), [{ position: await node.top('new'), repeated: false }])
      assert.deepEqual(await node.say('t', error), { epoch, offset: offset + 1 })
      assert.deepEqual({ ...(await node.read('t')).attributes }, {})
      await node.streams.remove('new')
    }
    assert.deepEqual(await node.payloads('t'), ['a', 'OOM', 'NOREPLICAS', 'READONLY'])
  })

  it('full memory: streams are read and trimmed', async t => {
    const redis = await own(t)
    const { node } = await opened(t, redis)
    const top = await node.say('t', 'a', 'b')
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    assert.deepEqual(await node.payloads('t'), ['a', 'b'])
    assert.deepEqual(await node.top('t'), top)
    await node.streams.trim(node.ref('t'), { ...top, offset: 1 })
    assert.deepEqual(await node.payloads('t'), ['b'])
  })

  it('an append without an answer that Redis executes later happens once, also if it is repeated', async t => {
    const redis = await own(t)
    const { node } = await opened(t, redis, { 'redis-timeout': 2 })
    await node.say('t', 'a')
    redis.pause()
    await assert.rejects(async () => node.append('t', [ENTRY, ENTRY]), {
      message: 'redis EVALSHA: no answer within 2 s',
    })
    const again = node.again('t', [ENTRY, ENTRY])
    redis.resume()
    const outcomes = await again
    const { epoch } = await node.top('t')
    assert.deepEqual(
      outcomes,
      [2, 3].map(offset => ({ position: { epoch, offset }, repeated: false })),
    )
    assert.deepEqual(await node.payloads('t'), ['a', 'x', 'x'])
  })

  it('older data after a restart: a known position begins an epoch, and no node sees old offsets twice', async t => {
    const redis = await own(t)
    const { node } = await opened(t, redis)
    await node.streams.listen('t')
    await node.say('t', 'a', 'b')
    await redis.command('SAVE')
    const known = await node.say('t', 'c', 'd')
    await redis.restart()
    await until(() => node.interruptions.some(topics => topics?.[0] === 't'), 'a new subscription')
    await until(() => node.streams.isReady(), 'a connection')
    const page = await node.streams.read(node.ref('t'), { after: known, entries: 10, bytes: 1000 })
    assert.deepEqual([page.lost, page.top], ['ahead', { ...known, offset: 2 }])
    const [outcome] = await node.append('t', [ENTRY], known)
    const top = await node.top('t')
    assert.notEqual(top.epoch, known.epoch)
    assert.deepEqual(outcome, { position: { epoch: top.epoch, offset: 1 }, repeated: false })
    assert.deepEqual(await node.payloads('t'), ['x'])
    await until(() => node.announcements.at(-1)?.top.epoch === top.epoch, 'the announcement')
  })

  it('without the subscriber connection streams are ready; without the command connection they are not, and calls reject', async t => {
    const redis = await own(t)
    const { node } = await opened(t, redis)
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    assert.equal(node.streams.isReady(), true)
    await redis.kill()
    await until(() => !node.streams.isReady(), 'a lost connection')
    await assert.rejects(async () => node.say('t', 'a'), /^Error: redis at 127\.0\.0\.1:\d+ is not reachable: /)
    await node.streams.listen('t')
    node.streams.ignore('t')
  })
})
