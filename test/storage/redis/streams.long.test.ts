import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { storageConformance } from '../../../src/testing/storage.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/peer.ts'
import {
  type RedisCluster,
  type SentinelSet,
  skipWithoutOwn,
  startRedis,
  startRedisCluster,
  startSentinelSet,
} from '../../support/redis.ts'
import { type Chosen, openRedis } from '../../support/redis-storage.ts'
import { StreamNode } from '../../support/stream-node.ts'

async function opened(t: TestContext, chosen: Chosen): Promise<StreamNode> {
  const storage = await openRedis({ 'redis-timeout': 2, ...chosen })
  t.after(() => storage.close?.())
  return new StreamNode(storage.streams!)
}

/** Repeats a call until it is answered. */
async function answered<T>(call: () => Promise<T>): Promise<T> {
  let answer: T | undefined
  await until(async () => {
    answer = await call().catch(() => undefined)
    return answer !== undefined
  }, 'an answer')
  return answer!
}

const ENTRY = { entries: [{ payload: 'x' }] }

describe('redis streams', { skip: skipWithoutOwn }, () => {
  it('a connection that is cut again and again: calls that are repeated append once, in order, and no gap is without an interruption', async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    t.after(() => proxy.stop())
    const nodes = [await opened(t, { 'redis-port': proxy.port }), await opened(t, { 'redis-port': proxy.port })]
    await Promise.all(nodes.map(async node => node.streams.listen('t')))
    let isDone = false
    let repeated = 0
    const say = async (node: StreamNode, n: number, i: number) => {
      const appends = [{ entries: [{ payload: `${n}:${i}` }, { payload: `${n}:${i}+` }] }]
      let answer = await node.append('t', appends).catch(() => undefined)
      while (answer === undefined) {
        repeated++
        await until(() => node.streams.isReady(), 'a connection')
        answer = await node.again('t', appends).catch(() => undefined)
      }
    }
    const appended = Promise.all(
      nodes.map(async (node, n) => {
        for (let i = 0; !isDone; i++) await say(node, n, i)
      }),
    )
    for (let cut = 0; cut < 10; cut++) {
      const before = nodes[0]!.announcements.length
      await until(() => nodes[0]!.announcements.length > before + 20, 'announcements after a cut')
      proxy.cut()
    }
    isDone = true
    await appended
    const { entries } = await answered(() => nodes[0]!.read('t'))
    assert.ok(repeated > 0)
    assert.ok(entries.every(({ offset }, i) => offset === i + 1))
    for (const [n, node] of nodes.entries()) {
      const own = entries.map(({ payload }) => String(payload)).filter(payload => payload.startsWith(`${n}:`))
      assert.deepEqual(own, Array.from({ length: own.length / 2 }, (_, i) => [`${n}:${i}`, `${n}:${i}+`]).flat())
      const announced = node.announced('t')
      const gaps = announced.filter(({ offset }, i) => offset !== (announced[i - 1]?.offset ?? 0) + 1).length
      assert.ok(gaps <= node.interruptions.length)
      for (const entry of announced) assert.deepEqual(entry, entries[entry.offset - 1])
    }
  })
})

describe('redis streams with Sentinels', { skip: skipWithoutOwn }, () => {
  let set: SentinelSet
  const at = (): Chosen => ({
    'redis-sentinels': set.sentinels.map(({ host, port }) => `${host}:${port}`),
    'redis-sentinel-name': set.name,
  })
  before(async () => {
    set = await startSentinelSet()
  })
  after(() => set.stop())

  storageConformance('redis with Sentinels', () => openRedis(at()))

  it('a promoted replica that lacks entries: the next append of a node that knows them begins an epoch', async t => {
    const [ann, bob] = [await opened(t, at()), await opened(t, at())]
    await Promise.all([ann.streams.listen('t'), bob.streams.listen('t')])
    await ann.say('t', 'a', 'b')
    await until(async () => (await set.master.command('WAIT', '1', '1000')) === 1, 'a replica with all entries')
    // The replica gets nothing more.
    await set.replica.command('REPLICAOF', '127.0.0.1', '1')
    const known = await ann.say('t', 'c', 'd')
    await set.failover()
    await bob.append('t', [ENTRY], known).catch(() => {})
    const outcomes = await answered(() => bob.again('t', [ENTRY], known))
    const top = await bob.top('t')
    assert.notEqual(top.epoch, known.epoch)
    assert.deepEqual(outcomes, [{ position: { epoch: top.epoch, offset: 1 }, repeated: false }])
    await until(() => ann.interruptions.length > 0, 'an interruption')
    assert.deepEqual(await answered(() => ann.top('t')), top)
  })
})

describe('redis streams on a Redis Cluster', { skip: skipWithoutOwn }, () => {
  let cluster: RedisCluster
  const at = (): Chosen => ({ 'redis-cluster': cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) })
  const TOPICS = Array.from({ length: 30 }, (_, i) => `topic {${i}`)
  before(async () => {
    cluster = await startRedisCluster()
  })
  after(() => cluster.stop())

  it('SCRIPT FLUSH on every master does not matter', async t => {
    const node = await opened(t, { ...at(), 'redis-key': 'flushed' })
    for (let i = 0; i < 3; i++) {
      for (const topic of TOPICS) await node.say(topic, `${i}`)
      for (const master of cluster.nodes) await master.command('SCRIPT', 'FLUSH')
    }
    assert.deepEqual(
      new Set((await node.streams.tops(TOPICS.map(topic => node.ref(topic)))).map(top => top.offset)),
      new Set([3]),
    )
  })

  it('a lost subscriber connection of one master interrupts, and announcements arrive again', async t => {
    const node = await opened(t, { ...at(), 'redis-key': 'cut' })
    await Promise.all(TOPICS.map(async topic => node.streams.listen(topic)))
    const before = node.interruptions.length
    for (const master of cluster.nodes) {
      await master.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => node.interruptions.length > before, 'an interruption')
    }
    // The last interruption comes when all subscriptions are confirmed.
    await until(async () => {
      await Promise.all(TOPICS.map(topic => node.say(topic, 'x')))
      return TOPICS.every(topic => node.announced(topic).length > 0)
    }, 'announcements of all topics')
  })

  it('a master that is killed and back without its data: new epochs, and announcements arrive again', async t => {
    const node = await opened(t, { ...at(), 'redis-key': 'killed' })
    await Promise.all(TOPICS.map(async topic => node.streams.listen(topic)))
    const known = new Map<string, string>()
    for (const topic of TOPICS) known.set(topic, (await node.say(topic, 'before')).epoch)
    await cluster.nodes[1]!.restart()
    await until(() => node.streams.isReady(), 'a connection')
    const changed = new Set<string>()
    for (const topic of TOPICS) {
      const { epoch } = await answered(() => node.top(topic))
      if (epoch !== known.get(topic)) changed.add(topic)
    }
    assert.ok(changed.size > 3 && changed.size < 20, String(changed.size))
    await until(async () => {
      for (const topic of changed) await answered(() => node.say(topic, 'after'))
      return [...changed].every(topic => node.announced(topic).some(({ payload }) => payload === 'after'))
    }, 'announcements')
  })
})
