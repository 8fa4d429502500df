import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { RunningServer, ServerOptions } from '../../../src/index.ts'
import { page, Raw } from '../../support/centrifuge.ts'
import { becomes, serve, until } from '../../support/peer.ts'
import { skipWithoutOwn, skipWithoutRedis, startRedis, startRedisCluster } from '../../support/redis.ts'

const OPTIONS = {
  filters: ['streams', 'presence', 'centrifuge'],
  streamsRules: ['chat:* size=300 ttl=5m'],
  presenceTopics: ['chat:*'],
  presenceGrace: 0,
  centrifugePublish: true,
}

type Nodes = readonly [RunningServer, RunningServer]

async function two(t: TestContext, storage: ServerOptions): Promise<Nodes> {
  const options = { ...OPTIONS, ...storage }
  return Promise.all([serve(t, options), serve(t, options)])
}

const STORAGES: readonly [name: string, skip: string | false, storage: (t: TestContext) => Promise<ServerOptions>][] = [
  [
    'Redis',
    skipWithoutRedis,
    async t => {
      const redis = await startRedis()
      t.after(() => redis.stop())
      return { storage: 'redis', redisUrl: redis.url, redisKey: `t${process.pid}` } as ServerOptions
    },
  ],
  [
    'a Redis Cluster',
    skipWithoutOwn,
    async t => {
      const cluster = await startRedisCluster()
      t.after(() => cluster.stop())
      return { storage: 'redis', redisCluster: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) } as ServerOptions
    },
  ],
]

for (const [name, skip, storage] of STORAGES)
  describe(`centrifuge-js on two nodes with ${name}`, { skip }, () => {
    it('publishes from one node to the other, in order, on kept and other channels', async t => {
      const [first, second] = await two(t, await storage(t))
      for (const channel of ['chat:1', 'other']) {
        const [ann, bob] = [page(t, first.url, channel), page(t, second.url, channel)]
        await Promise.all([ann.sees('= subscribed'), bob.sees('= subscribed')])
        for (let n = 1; n <= 50; n++) await bob.sub.publish(n)
        const isKept = channel === 'chat:1'
        const expected = Array.from({ length: 50 }, (_, i) => (isKept ? `${i + 1} ${i + 1}` : `${i + 1}`))
        for (const { seen } of [ann, bob]) {
          await until(() => seen.length === 51, `51, got ${seen.length}`)
          assert.deepEqual(seen.slice(1), expected)
        }
      }
    })

    it('comes back on the other node behind its last message', async t => {
      const [first, second] = await two(t, await storage(t))
      const raw = await Raw.connected(first.url)
      raw.send({ id: 2, subscribe: { channel: 'chat:1' } })
      const { subscribe } = (await raw.reply(2)) as { subscribe: { epoch: string } }
      const { epoch } = subscribe
      raw.peer.ws.close()
      for (let n = 1; n <= 3; n++) await first.append('chat:1', `${n}`)
      const back = await Raw.connected(second.url)
      back.send({ id: 2, subscribe: { channel: 'chat:1', recover: true, offset: 1, epoch } })
      const publications = [
        { data: 2, offset: 2 },
        { data: 3, offset: 3 },
      ]
      const state = { recoverable: true, positioned: true, epoch, offset: 1, was_recovering: true, recovered: true }
      assert.deepEqual(await back.reply(2), { subscribe: { ...state, publications } })
    })

    it('knows the members of both nodes, and ends subscriptions on both', async t => {
      const [first, second] = await two(t, await storage(t))
      const [ann, bob] = [page(t, first.url, 'chat:1', { joinLeave: true }), page(t, second.url, 'chat:1')]
      let joined = 0
      ann.sub.on('join', () => joined++)
      await Promise.all([ann.sees('= subscribed'), bob.sees('= subscribed')])
      await until(async () => (await ann.sub.presenceStats()).numUsers === 2, '2 users')
      await becomes(async () => Object.keys((await bob.sub.presence()).clients).length, 2)
      await until(() => joined > 0, 'a join')
      first.unsubscribe({ topic: 'chat:1' }, 'chat:1')
      await Promise.all([ann.sees('x 2000'), bob.sees('x 2000')])
    })
  })
