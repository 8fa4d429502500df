import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { OpenStorage } from '../../src/index.ts'
import { NodeCalls, type NodeCallsOptions } from '../../src/kit/node-calls.ts'
import { NodeRegistry } from '../../src/kit/node-registry.ts'
import { openMemory } from '../support/memory-storage.ts'
import { until } from '../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../support/redis.ts'
import { openRedis } from '../support/redis-storage.ts'

async function node(
  t: TestContext,
  storage: OpenStorage,
  answer: NodeCallsOptions['answer'],
  registry?: NodeRegistry,
): Promise<NodeCalls> {
  const { bus, sets } = storage as Required<OpenStorage>
  const calls = new NodeCalls({ bus, sets, prefix: 'x', answer, registry })
  await registry?.start()
  await calls.start()
  t.after(() => calls.stop().catch(() => {}))
  return calls
}

/** The same on each storage. */
function suite(open: (t: TestContext) => Promise<OpenStorage> | OpenStorage): void {
  it('asks one node, and all others', async t => {
    const storage = await open(t)
    const [ann, bob, cyd] = [
      await node(t, storage, () => 'ann'),
      await node(t, storage, (question, from) => ({ question, from })),
      await node(t, storage, async () => null),
    ]
    assert.deepEqual(await ann.ask(bob.id, { a: [1, 'ünï'] }), { question: { a: [1, 'ünï'] }, from: ann.id })
    const answers = await ann.askAll(7)
    assert.deepEqual(
      answers,
      new Map<string, unknown>(
        [...answers.keys()].map(id => [id, id === cyd.id ? null : { question: 7, from: ann.id }]),
      ),
    )
    assert.deepEqual(new Set(answers.keys()), new Set([bob.id, cyd.id]))
    await cyd.stop()
    assert.deepEqual([...(await ann.askAll(7)).keys()], [bob.id])
    await assert.rejects(ann.ask('nowhere', 7, { timeout: 50 }), {
      code: 'timeout',
      message: 'node nowhere has not answered "a question" within 50 ms',
    })
  })

  for (const [name, answer] of [
    ['undefined', () => undefined],
    ['a function', () => () => {}],
    ['a BigInt', () => 1n],
    [
      'a circular object',
      () => {
        const circular: { self?: unknown } = {}
        circular.self = circular
        return circular
      },
    ],
    [
      'an error',
      () => {
        throw new Error('secret')
      },
    ],
    [
      'a rejection',
      async () => {
        throw new Error('secret')
      },
    ],
  ] as const)
    it(`an answer that is ${name} fails the call`, async t => {
      const storage = await open(t)
      const [ann, bob] = [await node(t, storage, () => 1), await node(t, storage, answer as never)]
      await assert.rejects(ann.ask(bob.id, 1), { code: 'failed', message: 'a node cannot answer a question' })
      assert.deepEqual(await ann.askAll(1), new Map())
    })

  it('ignores what is not a message of a node', async t => {
    const storage = await open(t)
    const [ann, bob] = [await node(t, storage, () => 'ann'), await node(t, storage, question => question)]
    for (const text of ['', '7', 'null', '[]', '{}', '{"call":1,"answer":1}', '{"call":"1"}', '{"call":"1","from":7}'])
      for (const { id } of [ann, bob]) await storage.bus!.publish(`x:node:${id}`, text)
    await storage.bus!.publish(`x:node:${ann.id}`, Buffer.from([0xff, 0]))
    assert.equal(await ann.ask(bob.id, 'still'), 'still')
  })

  it('a node that dies fails its calls before their timeout', async t => {
    const storage = await open(t)
    const registry = () => new NodeRegistry({ ...(storage as Required<OpenStorage>), prefix: 'x', deadAfterMs: 200 })
    const [nodes, others] = [registry(), registry()]
    const ann = await node(t, storage, () => 'ann', nodes)
    const bob = await node(t, storage, () => new Promise(() => {}), others)
    await until(async () => {
      await others.look()
      await nodes.look()
      return nodes.wasAlive(bob.id)
    }, 'a node that is alive')
    const asked = assert.rejects(ann.ask(bob.id, 1, { timeout: 60_000 }), {
      code: 'gone',
      message: `node ${bob.id} is dead`,
    })
    await until(async () => {
      await nodes.look()
      return nodes.isDead(bob.id)
    }, 'a dead node')
    await asked
    await assert.rejects(ann.ask(bob.id, 1), { code: 'gone' })
  })

  it('a node that has another id is asked and answers under it', async t => {
    const storage = await open(t)
    const options = { ...(storage as Required<OpenStorage>), prefix: 'x', deadAfterMs: 200 }
    const [a, b] = [new NodeRegistry(options), new NodeRegistry(options)]
    const [ann, bob] = [await node(t, storage, () => 'ann', a), await node(t, storage, () => 'bob', b)]
    const earlier = bob.id
    await storage.values!.delete(`x:node:${earlier}`)
    await b.look()
    assert.notEqual(bob.id, earlier)
    await until(async () => (await ann.ask(bob.id, 1, { timeout: 100 }).catch(() => {})) === 'bob', 'an answer')
    assert.equal(await bob.ask(ann.id, 1), 'ann')
  })

  it('a call that the storage refuses fails with its error, and a stop ends all calls', async t => {
    const storage = await open(t)
    const ann = await node(t, storage, () => 'ann')
    const bob = await node(t, storage, () => new Promise(() => {}))
    const asked = assert.rejects(ann.ask(bob.id, 1), { code: 'gone', message: 'this node stops' })
    await ann.stop()
    await asked
    const bus = {
      ...storage.bus!,
      subscribe: storage.bus!.subscribe.bind(storage.bus),
      publish: async () => {
        throw new Error('the bus is full')
      },
    }
    const cyd = await node(t, { ...storage, bus }, () => 'cyd')
    await assert.rejects(cyd.ask(bob.id, 1), { message: 'the bus is full' })
  })
}

describe('NodeCalls', () => {
  describe('with storage memory', () => suite(() => openMemory()))

  it('waits for a bounded number of answers', async t => {
    const storage = openMemory()
    const [ann, bob] = [await node(t, storage, () => 1), await node(t, storage, () => new Promise(() => {}))]
    const asked = Array.from({ length: 10_000 }, () => ann.ask(bob.id, 1).catch(({ code }) => code))
    const message = '10000 calls wait for answers, the node bus allows no more'
    await assert.rejects(ann.ask(bob.id, 1), { code: 'busy', message })
    await ann.stop()
    assert.deepEqual(new Set(await Promise.all(asked)), new Set(['gone']))
  })

  describe('with Redis', { skip: skipWithoutOwn }, () => {
    let redis: RedisServer
    let key = 0
    before(async () => {
      redis = await startRedis()
    })
    after(() => redis.stop())
    suite(async t => {
      const storage = await openRedis({ 'redis-url': redis.url, 'redis-key': `calls${++key}` })
      t.after(() => storage.close?.())
      return storage
    })
  })
})
