import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { storageConformance } from '../../src/testing/storage.ts'
import { until } from '../support/peer.ts'
import {
  type RedisCluster,
  type RedisServer,
  skipWithoutOwn,
  skipWithoutRedis,
  startRedis,
  startRedisCluster,
} from '../support/redis.ts'
import { type Chosen, type OpenedRedis, openRedis } from '../support/redis-storage.ts'

let redis: RedisServer
before(async () => {
  if (skipWithoutRedis === false) redis = await startRedis()
})
after(() => redis?.stop())

describe('redis', { skip: skipWithoutRedis }, () => {
  storageConformance('redis', () => openRedis({ 'redis-url': redis.url }))
})

describe('redis cluster', { skip: skipWithoutOwn }, () => {
  let cluster: RedisCluster
  before(async () => {
    cluster = await startRedisCluster()
  })
  after(() => cluster.stop())
  const addresses = () => cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)
  storageConformance('redis cluster', () => openRedis({ 'redis-cluster': addresses() }))
})

/** A node with separate keys, closed after the test. */
async function node(t: TestContext, chosen: Chosen = {}): Promise<OpenedRedis> {
  const storage = await openRedis({ 'redis-port': redis.port, 'redis-key': keyOf(t), ...chosen })
  t.after(() => storage.close?.())
  return storage
}

const keyOf = (t: TestContext) => `test-${t.name.replace(/\W+/g, '-')}`

describe('redis bus', { skip: skipWithoutRedis }, () => {
  it('payloads of other programs are strings if they are UTF-8, else Buffers', async t => {
    const { bus } = await node(t)
    const got: unknown[] = []
    await bus!.subscribe('outside', payload => got.push(payload))
    await redis.command('PUBLISH', 'outside', 'hellö')
    await redis.command('PUBLISH', 'outside', '')
    await until(() => got.length === 2)
    assert.deepEqual(got, ['hellö', ''])
  })
  it('strings are published unchanged, for other programs', async t => {
    const { bus } = await node(t)
    const got: unknown[] = []
    await bus!.subscribe('seen', payload => got.push(payload))
    await bus!.publish('seen', 'plain ünï')
    await until(() => got.length === 1)
    assert.deepEqual(got, ['plain ünï'])
  })
  it('a Buffer with UTF-8 stays a Buffer', async t => {
    const { bus } = await node(t)
    const got: unknown[] = []
    await bus!.subscribe('both', payload => got.push(payload))
    const sent = [
      Buffer.from('text'),
      Buffer.from([0xff, 0x66, 0x77, 0x73]),
      Buffer.from([0xff, 0xd8]),
      Buffer.alloc(0),
    ]
    for (const payload of sent) await bus!.publish('both', payload)
    await until(() => got.length === sent.length)
    assert.deepEqual(got, sent)
  })
  it('channels between nodes are reserved', async t => {
    const { bus } = await node(t, { 'redis-key': 'mine' })
    const error = { message: 'channel "mine:all" is reserved: nodes use the channels that begin with mine:' }
    await assert.rejects(async () => bus!.publish('mine:all', 'x'), error)
    await assert.rejects(async () => bus!.subscribe('mine:all', () => {}), error)
    await bus!.publish('mine', 'x')
  })
  it('a channel that Redis refuses is an error, without effect on others', async t => {
    await redis.command(
      'ACL',
      'SETUSER',
      'narrow',
      'on',
      '>p',
      '~*',
      '+@all',
      'resetchannels',
      `&${keyOf(t)}:*`,
      '&allowed',
    )
    const { bus, carrier, ready, metrics, logged } = await node(t, { 'redis-user': 'narrow', 'redis-password': 'p' })
    await assert.rejects(async () => bus!.subscribe('forbidden', () => {}), /redis refuses channel "forbidden": NOPERM/)
    const got: unknown[] = []
    const stops = await Promise.allSettled([
      bus!.subscribe('forbidden too', () => {}),
      bus!.subscribe('allowed', payload => got.push(payload)),
      carrier!.listen('topic:x'),
    ])
    assert.deepEqual(
      stops.map(({ status }) => status),
      ['rejected', 'fulfilled', 'fulfilled'],
    )
    await redis.command('PUBLISH', 'allowed', 'hello')
    await until(() => got.length === 1)
    const count = async () => ((await redis.command('PUBSUB', 'NUMSUB', `${keyOf(t)}:topic:x`)) as unknown[])[1]
    assert.equal(await count(), 1)
    assert.equal(ready!(), true)
    assert.equal(metrics!().refused_subscriptions, 0)
    assert.doesNotMatch(JSON.stringify(logged), /forbidden/)
  })
  it('subscribes once for many subscribers, until the last one ends', async t => {
    const { bus } = await node(t)
    const count = async () => ((await redis.command('PUBSUB', 'NUMSUB', 'shared')) as unknown[])[1]
    const stops = await Promise.all([1, 2, 3].map(() => bus!.subscribe('shared', () => {})))
    assert.equal(await count(), 1)
    await stops[0]!()
    await stops[1]!()
    assert.equal(await count(), 1)
    await stops[2]!()
    await stops[2]!()
    assert.equal(await count(), 0)
    await bus!.subscribe('shared', () => {})
    assert.equal(await count(), 1)
  })
})

describe('redis carrier', { skip: skipWithoutRedis }, () => {
  async function two(t: TestContext) {
    const nodes = [await node(t), await node(t)]
    return nodes.map(({ carrier, instance }) => {
      const got: [string, string][] = []
      carrier!.start((channel, envelope) => got.push([channel, envelope.toString()]))
      return { carrier: carrier!, got, instance }
    })
  }
  it('delivers an envelope only to the nodes that listen', async t => {
    const [a, b] = await two(t)
    await b!.carrier.listen('topic:x')
    assert.equal(a!.carrier.send('topic:x', Buffer.from('1')), true)
    assert.equal(a!.carrier.send('topic:y', Buffer.from('2')), true)
    a!.carrier.send('topic:x', Buffer.from('3'))
    await until(() => b!.got.length === 2)
    assert.deepEqual(b!.got, [
      ['topic:x', '1'],
      ['topic:x', '3'],
    ])
    assert.deepEqual(a!.got, [])
  })
  it('listens to a topic only between listen and ignore, also with quick changes', async t => {
    const [a] = await two(t)
    const count = async (topic: string) =>
      ((await redis.command('PUBSUB', 'NUMSUB', `${keyOf(t)}:${topic}`)) as unknown[])[1]
    await a!.carrier.listen('topic:x')
    assert.equal(await count('topic:x'), 1)
    a!.carrier.ignore('topic:x')
    void a!.carrier.listen('topic:x')
    a!.carrier.ignore('topic:x')
    await a!.carrier.listen('topic:y')
    assert.deepEqual([await count('topic:x'), await count('topic:y')], [0, 1])
  })
  it('topics that differ in lone surrogates are different topics', async t => {
    const [a, b] = await two(t)
    const names = ['x\ud800', 'x\ud801', 'x\ufffd']
    for (const name of names) await b!.carrier.listen(`topic:${name}`)
    for (const name of names) a!.carrier.send(`topic:${name}`, Buffer.from(JSON.stringify(name)))
    await until(() => b!.got.length >= 3)
    assert.deepEqual(
      b!.got,
      names.map(name => [`topic:${name}`, JSON.stringify(name)]),
    )
  })
  it('10,000 topics in one turn cost a few commands', async t => {
    const [a] = await two(t)
    const calls = async () =>
      Number(/cmdstat_subscribe:calls=(\d+)/.exec(String(await redis.command('INFO', 'commandstats')))?.[1] ?? 0)
    const before = await calls()
    await Promise.all(Array.from({ length: 10_000 }, (_, i) => a!.carrier.listen(`topic:${i}`)))
    assert.equal((await calls()) - before, 10)
    for (let i = 0; i < 10_000; i++) a!.carrier.ignore(`topic:${i}`)
    await a!.carrier.listen('last')
    assert.deepEqual(await redis.command('PUBSUB', 'CHANNELS', `${keyOf(t)}:topic:*`), [])
  })
  it('accepts at most --redis-buffer bytes, and more when Redis has answered', {
    skip: skipWithoutOwn,
  }, async t => {
    const { carrier, metrics } = await node(t, { 'redis-buffer': 1_048_576 })
    const envelope = Buffer.alloc(300_000)
    assert.deepEqual(
      Array.from({ length: 5 }, () => carrier!.send('topic:x', envelope)),
      [true, true, true, false, false],
    )
    assert.ok(metrics!().pending_bytes! >= 900_000)
    await until(() => metrics!().pending_bytes === 0)
    assert.equal(carrier!.send('topic:x', Buffer.alloc(2_000_000)), true, 'one that is larger goes alone')
    assert.equal(carrier!.send('topic:x', envelope), false)
    await until(() => metrics!().pending_bytes === 0)
    assert.equal(carrier!.send('topic:x', envelope), true)
  })
})

describe('redis values', { skip: skipWithoutRedis }, () => {
  it('are stored under --redis-key', async t => {
    const { values } = await node(t, { 'redis-key': 'prefix' })
    await values!.set('a b', 'c')
    assert.equal(await redis.command('GET', 'prefix:value:a b'), 'c')
    await values!.delete('a b')
  })
  it('an error contains neither key nor value', async t => {
    const { values } = await node(t)
    await values!.set('secret', 'value')
    const error = await Promise.resolve(values!.increment('secret')).catch(error => error)
    assert.match(error.message, /^redis EVAL: ERR value is not an integer/)
    assert.doesNotMatch(JSON.stringify({ ...error, text: String(error) }), /secret|"value"/)
  })
  it('refuses a value that is not an integer', async t => {
    const { values } = await node(t)
    await assert.rejects(async () => values!.increment('x', 1.5), /increased by an integer, received 1\.5/)
  })
})
