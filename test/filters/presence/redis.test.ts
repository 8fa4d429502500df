import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { until } from '../../support/peer.ts'
import { type NodeOptions, PresenceNode, replay } from '../../support/presence-node.ts'
import { type RedisServer, skipWithoutOwn, startRedis, startRedisCluster } from '../../support/redis.ts'
import { type Chosen, openRedis } from '../../support/redis-storage.ts'

const LEASE = 4000

/** Three nodes with connections of their own. */
async function nodesOn(t: TestContext, chosen: Chosen, options: NodeOptions = {}) {
  const start = async () => {
    const storage = await openRedis(chosen)
    const node = await PresenceNode.start(
      storage.streams!,
      { values: storage.values!, sets: storage.sets! },
      { leaseMs: LEASE, ...options },
    )
    t.after(async () => {
      await node.stop()
      await storage.close?.()
    })
    return node
  }
  return [await start(), await start(), await start()] as const
}

async function entriesOf(node: PresenceNode, topic: string): Promise<string[]> {
  const kept = node.kept.of(`@presence/${topic}`)!
  const { entries } = await node.kept.read(kept, { from: 'oldest', entries: 1e5, bytes: 1e9 })
  return entries.map(({ payload }) => String(payload))
}

const countOn = (node: PresenceNode, topic: string) => async (clients: number, users: number) => {
  const count = await node.presence.count(topic).catch(() => undefined)
  return count?.clients === clients && count.users === users
}

describe('presence on Redis', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('a user with clients on three nodes joins once and leaves once', async t => {
    const nodes = await nodesOn(t, { 'redis-url': redis.url })
    for (const [i, node] of nodes.entries()) node.join(`tab${i}`, 'ann', 'three')
    for (const node of nodes) await node.presence.list('three')
    for (const node of nodes) {
      assert.deepEqual(await node.presence.count('three'), { clients: 3, users: 1 })
      const { members } = await node.presence.list('three')
      assert.deepEqual(
        members.map(({ client, user }) => [client, user]),
        [0, 1, 2].map(i => [`tab${i}`, 'ann']),
      )
    }
    for (const [i, node] of nodes.entries()) node.leave(`tab${i}`, 'three')
    for (const node of nodes) await node.presence.list('three')
    assert.deepEqual(await entriesOf(nodes[0], 'three'), [
      `{"join":{"user":"ann","client":"${await firstClient(nodes[0], 'three')}"}}`,
      `{"leave":{"user":"ann","client":"${await lastClient(nodes[0], 'three')}"}}`,
    ])
  })

  it('the members of a dead node go once, also on a topic that only a client watches', async t => {
    const [ann, bob, dead] = await nodesOn(t, { 'redis-url': redis.url })
    ann.join('a1', 'ann', 'dead')
    dead.join('a2', 'ann', 'dead')
    dead.join('c1', 'cyd', 'dead')
    dead.join('d1', 'dan', 'dead/watched')
    for (const node of [ann, dead]) await node.presence.list('dead')
    await dead.presence.list('dead/watched')
    bob.presence.joined('@presence/dead/watched', { id: 'w' } as never)
    // Others know a node once they have looked.
    await until(countOn(bob, 'dead/watched').bind(null, 1, 1))
    dead.kill()
    await until(countOn(ann, 'dead').bind(null, 1, 1), 'one client')
    await until(countOn(bob, 'dead/watched').bind(null, 0, 0), 'no client')
    assert.deepEqual(replay(await entriesOf(ann, 'dead')), ['ann'])
    assert.deepEqual(replay(await entriesOf(ann, 'dead/watched')), [])
    assert.equal((await entriesOf(ann, 'dead/watched')).length, 2)
  })

  it('a list removes the members of a dead node on a topic without others', async t => {
    const [ann, , dead] = await nodesOn(t, { 'redis-url': redis.url })
    for (let i = 0; i < 500; i++) dead.join(`c${i}`, `user${i}`, 'alone')
    await dead.presence.list('alone')
    dead.kill()
    assert.equal((await ann.presence.list('alone')).users, 500)
    await until(async () => (await ann.presence.list('alone')).users === 0, 'an empty list')
    assert.equal((await entriesOf(ann, 'alone')).length, 1000)
  })

  it('a user that returns to another node in time does not leave, though its node is dead', async t => {
    const [ann, , dead] = await nodesOn(t, { 'redis-url': redis.url }, { graceMs: 60_000 })
    dead.join('a1', 'ann', 'grace')
    await dead.presence.list('grace')
    dead.leave('a1', 'grace')
    dead.join('c1', 'cyd', 'grace')
    await dead.presence.list('grace')
    dead.kill()
    ann.join('a2', 'ann', 'grace')
    ann.join('c2', 'cyd', 'grace')
    await until(countOn(ann, 'grace').bind(null, 2, 2))
    assert.deepEqual(await entriesOf(ann, 'grace'), [
      '{"join":{"user":"ann","client":"a1"}}',
      '{"join":{"user":"cyd","client":"c1"}}',
    ])
  })

  it('members join again after a restart of Redis without its data', async t => {
    const own = await startRedis()
    t.after(() => own.stop())
    const [ann, bob] = await nodesOn(t, { 'redis-url': own.url })
    ann.join('a1', 'ann', 'lost')
    bob.join('b1', 'bob', 'lost')
    for (const node of [ann, bob]) await node.presence.list('lost')
    await own.restart()
    bob.join('b2', 'bob', 'lost')
    await until(async () => {
      const page = await ann.presence.list('lost').catch(() => undefined)
      return page?.clients === 3 && page.users === 2
    }, 'all members')
    assert.deepEqual(replay(await entriesOf(ann, 'lost')), ['ann', 'bob'])
  })
})

describe('presence without an answer of Redis', { skip: skipWithoutOwn }, () => {
  it('joins and leaves wait, and only the last state of each client counts', async t => {
    const own = await startRedis()
    t.after(() => own.stop())
    const chosen = { 'redis-url': own.url, 'redis-timeout': 2 }
    const [ann, bob] = await nodesOn(t, chosen, { waitMs: 300, leaseMs: 20_000 })
    ann.join('a1', 'ann', 'away')
    ann.join('b1', 'bob', 'away')
    await ann.presence.list('away')
    own.pause()
    await assert.rejects(bob.presence.list('away'))
    ann.leave('b1', 'away')
    for (let i = 0; i < 2000; i++) {
      ann.join(`c${i}`, `user${i}`, 'away')
      if (i % 2 === 0) bob.join('d1', 'dan', 'away')
      else bob.leave('d1', 'away')
      if (i > 0) ann.leave(`c${i}`, 'away')
    }
    await assert.rejects(ann.presence.list('away'))
    own.resume()
    await until(countOn(ann, 'away').bind(null, 2, 2), 'two clients')
    assert.deepEqual(replay(await entriesOf(bob, 'away')), ['ann', 'user0'])
    assert.equal((await entriesOf(bob, 'away')).length, 4)
  })
})

describe('presence on a Redis Cluster', { skip: skipWithoutOwn }, () => {
  it('counts the clients of three nodes', async t => {
    const cluster = await startRedisCluster()
    t.after(() => cluster.stop())
    const nodes = await nodesOn(t, { 'redis-cluster': cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) })
    const topics = Array.from({ length: 20 }, (_, i) => `room{${i}`)
    for (const topic of topics)
      for (const [i, node] of nodes.entries()) node.join(`${topic} ${i}`, `user${i % 2}`, topic)
    for (const topic of topics) {
      for (const node of nodes) await node.presence.list(topic)
      assert.deepEqual(await nodes[1].presence.count(topic), { clients: 3, users: 2 })
      assert.deepEqual(replay(await entriesOf(nodes[2], topic)), ['user0', 'user1'])
    }
  })
})

const clientIn = (entry: string) => Object.values(JSON.parse(entry) as Record<string, { client: string }>)[0]!.client
const firstClient = async (node: PresenceNode, topic: string) => clientIn((await entriesOf(node, topic))[0]!)
const lastClient = async (node: PresenceNode, topic: string) => clientIn((await entriesOf(node, topic)).at(-1)!)
