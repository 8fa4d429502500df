import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { checkIdempotency } from '../../../src/testing/index.ts'
import { IdempotencyNode, topicOf } from '../../support/idempotency-node.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { type OpenedRedis, openRedis } from '../../support/redis-storage.ts'

describe('IdempotencyStore on Redis', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  const opened: OpenedRedis[] = []
  before(async () => {
    redis = await startRedis()
  })
  after(async () => {
    for (const storage of opened) await storage.close?.()
    await redis.stop()
  })

  async function start(
    key: string,
    dead?: ReadonlySet<string>,
  ): Promise<{ node: IdempotencyNode; storage: OpenedRedis }> {
    const storage = await openRedis({ 'redis-port': redis.port, 'redis-key': key })
    opened.push(storage)
    return { storage, node: new IdempotencyNode(storage.streams!, dead) }
  }

  for (const seed of [1, 2, 3])
    it(`loses no request and runs none twice without repeated, seed ${seed}`, async () => {
      const dead = new Set<string>()
      const startOne = async () => {
        const { node } = await start(`once${seed}`, dead)
        let isDead = false
        return {
          send: async (sender: string, n: number, isResent: boolean, run: (repeated: boolean) => Promise<string>) => {
            if (isDead) throw new Error('dead')
            const entered = node.store.enter(sender, 'e')
            try {
              return await entered.once(n, isResent, run)
            } finally {
              entered.leave()
            }
          },
          kill: () => {
            isDead = true
            node.stop()
            dead.add(node.id)
          },
        }
      }
      const { storage } = await start(`once${seed}`)
      const lose = (sender: string) => storage.streams!.remove(topicOf(sender, 'e'))
      const { runs, kills } = await checkIdempotency({ seed, start: startOne, lose })
      assert.ok(runs > 0 && kills > 0)
    })

  it('begins a new epoch if Redis comes back older: a resend runs with repeated', async () => {
    const { node } = await start('older')
    const sender = node.store.enter('a', 'e')
    await sender.once(1, false, () => 'one')
    const keys = (await redis.command('KEYS', 'older*')) as string[]
    const copies = async (prefix: string, to: string) => {
      for (const key of keys) await redis.command('COPY', prefix + key, to + key, 'REPLACE')
    }
    await copies('', 'snapshot:')
    await sender.once(2, false, () => 'two')
    await copies('snapshot:', '')
    const runs: boolean[] = []
    // Without the new epoch it would count as one that has not begun: the snapshot has the watermark 1.
    const other = await sender.once(3, true, repeated => runs.push(repeated))
    assert.equal(other, 1)
    assert.deepEqual(runs, [true])
  })

  it('keeps records of a sender for ten times the time of its entries, at least for an hour', async () => {
    const { node } = await start('ttl')
    await node.store.enter('a', 'e').once(1, false, () => 'done')
    const ttls: number[] = []
    for (const key of (await redis.command('KEYS', 'ttl:stream*')) as string[])
      ttls.push(Number(await redis.command('PTTL', key)))
    const [entries, ...attributes] = ttls.toSorted((a, b) => a - b)
    assert.ok(entries! > 50_000 && attributes.length > 0, String(ttls))
    for (const ttl of attributes) assert.ok(ttl > 3_500_000, String(ttls))
  })
})
