import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { RunningServer, ServerOptions } from '../../../src/index.ts'
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import {
  type RedisServer,
  skipWithoutOwn,
  startRedis,
  startRedisCluster,
  startSentinelSet,
} from '../../support/redis.ts'
import { openRedis } from '../../support/redis-storage.ts'

/** Seconds; a silent connection is replaced after three times this. */
const TIMEOUT = 1

interface Node {
  readonly server: RunningServer
  readonly peers: readonly Peer[]
}

describe('storage redis', { skip: skipWithoutOwn }, () => {
  async function own(t: TestContext): Promise<RedisServer> {
    const redis = await startRedis()
    t.after(() => redis.stop())
    return redis
  }

  async function proxied(t: TestContext): Promise<{ redis: RedisServer; proxy: FaultProxy; at: ServerOptions }> {
    const redis = await own(t)
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    t.after(() => proxy.stop())
    return { redis, proxy, at: { redisPort: proxy.port } }
  }

  /** A node with two clients. */
  async function node(t: TestContext, at: ServerOptions): Promise<Node> {
    const server = await serve(t, { filters: ['broadcast'], storage: 'redis', redisTimeout: TIMEOUT, ...at })
    return { server, peers: [await Peer.open(server.url), await Peer.open(server.url)] }
  }

  /** Local clients reach each other. */
  async function assertLocal({ peers: [ann, bob] }: Node, text: string): Promise<void> {
    ann!.send(text)
    await until(() => bob!.received.at(-1) === text, `"${text}" on the same node`)
  }

  /** Recovers, and messages pass in both directions, once each. */
  async function assertWhole(nodes: readonly Node[]): Promise<void> {
    await until(() => nodes.every(({ server }) => server.ready), 'every node ready')
    for (const from of nodes) {
      const text = `whole again ${Math.random()}`
      from.peers[0]!.send(text)
      for (const { peers } of nodes) await until(() => peers[1]!.received.includes(text), 'a message between nodes')
    }
    for (const { peers } of nodes) {
      for (const { received } of peers) assert.equal(new Set(received).size, received.length, 'nothing twice')
    }
  }

  const clientsOf = async (redis: RedisServer) =>
    String(await redis.command('CLIENT', 'LIST'))
      .split('\n')
      .filter(line => / name=fws:/.test(line)).length

  it('a cut connection: local delivery continues, both nodes recover within seconds, and nothing leaks', async t => {
    const { redis, proxy, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, at)]
    for (let i = 0; i < 5; i++) {
      proxy.cut()
      await until(() => nodes.every(({ server }) => !server.ready), 'no node ready')
      await assertLocal(nodes[0]!, `cut ${i}`)
      await assertWhole(nodes)
    }
    assert.equal(nodes[0]!.server.storageMetrics.reconnects_total, 5)
    await until(async () => (await clientsOf(redis)) === 4, 'two connections a node')
  })
  it('a half-open connection is detected by the canary and replaced', async t => {
    const { proxy, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, at)]
    proxy.halfOpen()
    await until(() => nodes.every(({ server }) => !server.ready), 'no node ready')
    await assertLocal(nodes[0]!, 'half-open')
    assert.equal(nodes[0]!.server.storageMetrics.reconnects_total, 0)
    proxy.resume()
    await assertWhole(nodes)
  })
  it('while Redis is paused, broadcasts are queued up to --redis-buffer and arrive; further ones are dropped and counted', async t => {
    const { proxy, at } = await proxied(t)
    const patient = { ...at, redisTimeout: 30 }
    const limits = { redisBuffer: 1_048_576, maxBuffered: 10_000_000 }
    const nodes = [await node(t, { ...patient, ...limits }), await node(t, patient)]
    proxy.pause()
    for (let i = 0; i < 50; i++) {
      nodes[0]!.server.broadcast(`${i}`.padEnd(100_000))
      await new Promise(setImmediate)
    }
    const { counters } = nodes[0]!.server
    assert.ok(counters.nodesUnsent >= 39 && counters.nodesUnsent < 50, String(counters.nodesUnsent))
    assert.ok(nodes[0]!.server.storageMetrics.pending_bytes! <= 1_100_000)
    proxy.resume()
    await assertWhole(nodes)
    const numbers = nodes[1]!.peers[0]!.received.map(Number).filter(Number.isInteger)
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    )
    assert.equal(numbers.length, 50 - counters.nodesUnsent)
    assert.equal(nodes[1]!.server.counters.nodesLost, counters.nodesUnsent)
  })
  it('empty publishes are bounded too, and other commands', async t => {
    const { proxy, at } = await proxied(t)
    const { server } = await node(t, { ...at, redisBuffer: 1_048_576 })
    proxy.pause()
    const refused = await Promise.all(
      Array.from({ length: 2000 }, () =>
        Promise.race([
          Promise.resolve(server.publish('x', '')).then(
            () => false,
            () => true,
          ),
          new Promise<boolean>(resolve => setTimeout(resolve, 100, false)),
        ]),
      ),
    )
    assert.ok(refused.filter(Boolean).length >= 2000 - 512, String(refused.filter(Boolean).length))
    proxy.resume()
    await until(() => server.ready)
  })
  it('sets are complete as soon as Redis is back without data, before the next renewal of the lease', async t => {
    const redis = await own(t)
    const chosen = { 'redis-port': redis.port, 'redis-lease': 600 }
    const [a, b] = [await openRedis(chosen), await openRedis(chosen)]
    t.after(() => Promise.all([a.close?.(), b.close?.()]))
    await a.sets!.add('room', 'ann')
    await redis.restart()
    await until(() => a.ready!() && b.ready!(), 'both ready')
    await until(async () => (await b.sets!.get('room')).has('ann'), 'the member of the other node')
  })
  it('a PUBLISH whose answer was lost is not sent again', async t => {
    const { redis, proxy, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, { redisPort: redis.port })]
    proxy.dropReplies()
    nodes[0]!.server.broadcast('once')
    await until(() => nodes[1]!.peers[0]!.received.includes('once'))
    await until(() => !nodes[0]!.server.ready)
    proxy.resume()
    await assertWhole(nodes)
    assert.equal(nodes[0]!.server.storageMetrics.unanswered_publishes_total! > 0, true)
  })
  it('publishing while Redis is down uses no memory', async t => {
    const { proxy, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, at)]
    proxy.refuse()
    proxy.cut()
    await until(() => !nodes[0]!.server.ready)
    const payload = 'x'.repeat(1000)
    let failures = 0
    for (let i = 0; i < 2000; i++) {
      nodes[0]!.server.broadcast(payload)
      await Promise.resolve(nodes[0]!.server.publish('global', payload)).catch(() => failures++)
      await new Promise(setImmediate)
    }
    assert.equal(failures, 2000)
    assert.equal(nodes[0]!.server.storageMetrics.pending_bytes, 0)
    assert.equal(nodes[0]!.server.counters.nodesUnsent, 2000)
    await proxy.accept()
    await until(() => nodes[0]!.peers[1]!.received.length === 2000)
    for (const { peers } of nodes) for (const peer of peers) peer.received.length = 0
    await assertWhole(nodes)
  })
  it('a lost command connection alone does not leak a subscription', async t => {
    const { redis, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, at)]
    const [client] = [...nodes[0]!.server.clients.values()]
    client!.join('x')
    const count = async () => Number(((await redis.command('PUBSUB', 'NUMSUB', 'fws:topic:x')) as unknown[])[1])
    await until(async () => (await count()) === 1)
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    client!.leave('x')
    await until(async () => (await count()) === 0)
    await assertWhole(nodes)
    assert.equal(nodes[0]!.server.storageMetrics.reconnects_total, 1)
  })
  it('a master that becomes a replica does not cause constant reconnects', async t => {
    const { redis, at } = await proxied(t)
    // Its lease is renewed every third of a second, which a replica refuses.
    const one = await node(t, { ...at, redisLease: 1 })
    const before = one.server.storageMetrics.reconnects_total!
    const since = performance.now()
    await redis.command('REPLICAOF', '127.0.0.1', '1')
    for (let i = 0; i < 30; i++) {
      await Promise.resolve(one.server.publish('global', 'x')).catch(() => {})
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    const pauses = (performance.now() - since) / (3000 * TIMEOUT)
    assert.ok(one.server.storageMetrics.reconnects_total! - before <= 2 + pauses)
    await redis.command('REPLICAOF', 'NO', 'ONE')
    await until(() => one.server.ready)
  })
  it('messages of others on the channel of the canary are ignored', async t => {
    const { redis, proxy, at } = await proxied(t)
    const one = await node(t, at)
    const [channel] = (await redis.command('PUBSUB', 'CHANNELS', 'fws:canary:*')) as string[]
    for (const text of ['garbage', '1e15', '-1', '', 'Infinity', 'NaN']) await redis.command('PUBLISH', channel!, text)
    await until(() => one.server.ready)
    proxy.pause()
    await redis.command('PUBLISH', channel!, '1e15')
    await until(() => !one.server.ready)
    proxy.resume()
    await until(() => one.server.ready)
  })
  it('a subscriber that Redis disconnects as slow subscribes again', async t => {
    const { redis, at } = await proxied(t)
    const nodes = [await node(t, at), await node(t, at)]
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => nodes.every(({ server }) => !server.ready))
    await assertWhole(nodes)
  })
  it('a lost subscription is detected on working connections', async t => {
    const { redis, at } = await proxied(t)
    const one = await node(t, at)
    await redis.command('ACL', 'SETUSER', 'default', 'resetchannels')
    await until(() => !one.server.ready)
    await assertLocal(one, 'deaf')
    await redis.command('ACL', 'SETUSER', 'default', 'allchannels')
    await until(() => one.server.ready)
  })
  it('sentinels: the node follows the new master', async t => {
    const set = await startSentinelSet()
    t.after(() => set.stop())
    const redisSentinels = set.sentinels.map(({ host, port }) => `${host}:${port}`)
    const at = { redisSentinels, redisSentinelName: set.name }
    const nodes = [await node(t, at), await node(t, at)]
    await assertWhole(nodes)
    const failover = set.failover()
    await until(() => nodes.every(({ server }) => !server.ready))
    await assertLocal(nodes[0]!, 'during failover')
    await failover
    await assertWhole(nodes)
  })
  it('Redis Cluster: topics and broadcasts reach other nodes; a lost master is detected, and the nodes recover', async t => {
    const cluster = await startRedisCluster()
    t.after(() => cluster.stop())
    const at = { redisCluster: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`), redisTimeout: 1 }
    const nodes = [await node(t, at), await node(t, at)]
    await assertWhole(nodes)
    const topics = Array.from({ length: 20 }, (_, i) => `topic ${i}`)
    const [member] = [...nodes[1]!.server.clients.values()]
    for (const topic of topics) member!.join(topic)
    const sharded = async () =>
      (await Promise.all(cluster.nodes.map(master => master.command('PUBSUB', 'SHARDCHANNELS', 'fws:topic:*')))).flat()
    await until(async () => (await sharded()).length === topics.length, 'sharded subscriptions')
    for (const topic of topics) nodes[0]!.server.broadcast(`to ${topic}`, { topic })
    const arrived = () => nodes[1]!.peers[0]!.received.filter(text => String(text).startsWith('to topic'))
    await until(() => arrived().length === topics.length, 'every topic')
    for (const topic of topics) member!.leave(topic)
    await until(async () => (await sharded()).length === 0, 'no subscription')
    for (const master of cluster.nodes) {
      await master.kill()
      await until(() => nodes.every(({ server }) => !server.ready), 'no node ready')
      await assertLocal(nodes[0]!, `without ${master.port}`)
      await master.restart()
      await assertWhole(nodes)
    }
  })
  it('Redis Cluster: a master that is down longer than connections are kept', async t => {
    const cluster = await startRedisCluster()
    t.after(() => cluster.stop())
    const at = { redisCluster: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`), redisTimeout: 0.5 }
    const nodes = [await node(t, at), await node(t, at)]
    const [member] = [...nodes[1]!.server.clients.values()]
    for (let i = 0; i < 20; i++) member!.join(`topic ${i}`)
    for (const master of cluster.nodes.slice(0, 2)) {
      await master.kill()
      await until(() => nodes.every(({ server }) => !server.ready), 'no node ready')
      await assertLocal(nodes[0]!, `without ${master.port}`)
      await new Promise(resolve => setTimeout(resolve, 4 * 500 + Math.random() * 500))
      await master.restart()
      await until(() => nodes.every(({ server }) => server.ready), 'every node ready', 60_000)
      await assertWhole(nodes)
      for (let i = 0; i < 20; i++) nodes[0]!.server.broadcast(`${master.port} to ${i}`, { topic: `topic ${i}` })
      const arrived = () => nodes[1]!.peers[0]!.received.filter(text => String(text).startsWith(`${master.port} to `))
      await until(() => arrived().length === 20, 'every topic')
    }
  })
})
