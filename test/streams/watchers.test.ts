import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { pino } from 'pino'
import { createCounters } from '../../src/fanout/counters.ts'
import type { FilterModule, Retention, Server, Streams, TopicWatcher } from '../../src/index.ts'
import { KeptTopics } from '../../src/streams/kept-topics.ts'
import { DelayedStreams, testServer } from '../../src/testing/index.ts'
import { gate } from '../support/gate.ts'
import { openMemory } from '../support/memory-storage.ts'
import { until } from '../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../support/redis.ts'
import { openRedis } from '../support/redis-storage.ts'

const RETENTION: Retention = { size: 3, ttlMs: 60_000, full: 'trim' }
const keeps: FilterModule = { retain: topic => (topic.startsWith('kept') ? RETENTION : undefined) }

async function serve(t: TestContext, filters: readonly FilterModule[] = [], options = {}) {
  const server = await testServer([...filters, keeps], options)
  t.after(() => server.stop())
  return server
}

/** The calls of a watcher, as strings. */
function recorder() {
  const calls: string[] = []
  const watcher: TopicWatcher = {
    entry: ({ payload }, { offset }) => void calls.push(`${offset} ${payload}`),
    lost: ({ offset }, reason) => void calls.push(`lost up to ${offset}: ${reason}`),
    changed: () => void calls.push('changed'),
  }
  return { calls, watcher }
}

/** The kept topics of a node. */
function node(t: TestContext, streams: Streams): KeptTopics {
  const { streams: totals, drops } = createCounters()
  const kept = new KeptTopics({
    streams,
    instance: crypto.randomUUID(),
    totals,
    drops,
    log: pino({ level: 'silent' }),
    retain: () => RETENTION,
    deliver: () => {},
    lose: () => {},
    hasMembers: () => false,
  })
  kept.start()
  t.after(() => kept.stop())
  return kept
}

async function turns(count = 100): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn()
}

describe('server.watch', () => {
  it('reports each entry in order, and the changes of a turn once', async t => {
    const { server } = await serve(t, [], { 'max-clients': 1 })
    const { calls, watcher } = recorder()
    await server.append('kept', 'before')
    const unwatch = server.watch('kept', watcher)
    await turns()
    assert.deepEqual(calls.splice(0), ['changed'])
    for (const payload of ['a', 'b']) server.broadcast(payload, { topic: 'kept' })
    await turns()
    assert.deepEqual(calls.splice(0), ['2 a', '3 b', 'changed'])
    await server.append('kept', [], { set: { active: 'ann' } })
    await turns()
    assert.deepEqual(calls.splice(0), ['changed'])
    assert.deepEqual([server.clients.size, server.streamGauges.followed], [0, 1])
    unwatch()
    unwatch()
    await server.append('kept', 'c')
    await turns()
    assert.deepEqual([calls, server.streamGauges.followed], [[], 0])
  })

  it('goes on when the members leave, and ends without them', async t => {
    const { server, connect } = await serve(t)
    const { client, leave } = await connect()
    client.join('kept')
    const [one, two] = [recorder(), recorder()]
    const ends = [one, two].map(({ watcher }) => server.watch('kept', watcher))
    await leave()
    await server.append('kept', 'a')
    ends[0]!()
    await server.append('kept', 'b')
    await turns()
    const entries = (calls: readonly string[]) => calls.filter(call => call !== 'changed')
    assert.deepEqual([entries(one.calls), entries(two.calls)], [['1 a'], ['1 a', '2 b']])
  })

  it('a watcher may begin and end watches', async t => {
    const { server } = await serve(t)
    const { calls, watcher } = recorder()
    const ends: (() => void)[] = []
    ends.push(
      server.watch('kept', {
        entry: () => {
          ends.push(server.watch('kept', watcher))
          ends[1]!()
        },
      }),
      server.watch('kept', { entry: () => void calls.push('ended') }),
    )
    for (const payload of ['a', 'b']) await server.append('kept', payload)
    assert.deepEqual(calls, ['2 b'])
  })

  it('logs the errors of a watcher, and delivers to the members', async t => {
    const { server, logged, connect, flush } = await serve(t)
    const ann = await connect()
    ann.client.join('kept')
    server.watch('kept', {
      entry: () => {
        throw new Error('entry')
      },
      changed: (async () => {
        throw new Error('changed')
      }) as () => void,
    })
    await turns()
    await server.append('kept', 'a')
    await turns()
    flush()
    assert.deepEqual(ann.received, ['a'])
    const errors = logged.filter(({ level }) => level === 50)
    assert.deepEqual(
      errors.map(({ topic, msg, err }) => [topic, msg, (err as Error).message]),
      ['changed', 'entry', 'changed'].map(error => ['kept', 'a watcher of a kept topic failed', error]),
    )
  })

  it('refuses topics that are not kept, and the server of a client that permits apply to', async t => {
    const plain = await testServer([])
    t.after(() => plain.stop())
    const { server, connect } = await serve(t, [{ permit: () => true }])
    const { client } = await connect()
    const refusals: [Server, string, object][] = [
      [
        plain.server,
        'kept',
        { code: 'ERR_STATE', message: 'watch() needs a kept topic; no filter keeps topics: see -f streams' },
      ],
      [
        server,
        'other',
        { code: 'ERR_STATE', message: 'watch() needs a kept topic; topic "other" is not kept: see -f streams' },
      ],
      [
        client.server,
        'kept',
        {
          code: 'ERR_FORBIDDEN',
          message: 'client.server does not watch topics, received "kept"; use the server that start() gets',
        },
      ],
    ]
    for (const [from, topic, error] of refusals) assert.throws(() => from.watch(topic, {}), error)
  })
})

describe('a watcher on several nodes', () => {
  it('gets entries without holes, and is called after each interruption', async t => {
    const streams = new DelayedStreams(openMemory().streams!, { seed: 1 })
    const [ann, bob] = [node(t, streams), node(t, streams.node())]
    const { calls, watcher } = recorder()
    ann.watch(ann.of('kept')!, watcher)
    await until(() => calls.splice(0).length > 0, 'the topic is followed')
    streams.faults.lost = 1
    await bob.append(bob.of('kept')!, { entries: [{ payload: 'a' }] })
    streams.faults.lost = 0
    await bob.append(bob.of('kept')!, { entries: [{ payload: 'b' }] })
    await until(() => calls.includes('2 b'), 'both entries')
    assert.deepEqual(
      calls.splice(0).filter(call => call !== 'changed'),
      ['1 a', '2 b'],
    )
    await turns()
    calls.length = 0
    for (const topics of [['kept'], undefined]) {
      streams.interrupt(topics)
      await until(() => calls.splice(0).includes('changed'), 'an interruption')
    }
    streams.interrupt(['other'])
    await turns()
    assert.deepEqual(calls, [])
  })

  it('is called for a loss', async t => {
    const streams = new DelayedStreams(openMemory().streams!, { seed: 1 })
    const [ann, bob] = [node(t, streams), node(t, streams.node())]
    const { calls, watcher } = recorder()
    ann.watch(ann.of('kept')!, watcher)
    await until(() => calls.splice(0).length > 0, 'the topic is followed')
    streams.faults.lost = 1
    for (const payload of 'abcde') await bob.append(bob.of('kept')!, { entries: [{ payload }] })
    await ann.check()
    await until(() => calls.length > 1, 'the loss')
    assert.deepEqual(calls, ['lost up to 5: trimmed', 'changed'])
  })

  it('is called when the subscription is made: the topic may have changed since the first read', async t => {
    const { open, opened } = gate()
    class Slow extends DelayedStreams {
      override async listen(topic: string): Promise<void> {
        await opened
        await super.listen(topic)
      }
    }
    const streams = new Slow(openMemory().streams!, { seed: 1 })
    const kept = node(t, streams)
    const { calls, watcher } = recorder()
    kept.watch(kept.of('kept')!, watcher)
    await until(() => kept.positionOf('kept') !== undefined, 'the first read')
    await turns()
    assert.equal(calls.length, 0)
    open()
    await until(() => calls.includes('changed'), 'the subscription')
  })

  describe('with Redis', { skip: skipWithoutOwn }, () => {
    let redis: RedisServer
    before(async () => {
      redis = await startRedis()
    })
    after(() => redis.stop())

    it('gets what other nodes append and set', async t => {
      const storages = await Promise.all([1, 2].map(() => openRedis({ 'redis-url': redis.url })))
      t.after(() => Promise.all(storages.map(storage => storage.close?.())))
      const [ann, bob] = storages.map(({ streams }) => node(t, streams!))
      const { calls, watcher } = recorder()
      ann!.watch(ann!.of('kept')!, watcher)
      await until(() => calls.splice(0).length > 0, 'the topic is followed')
      await bob!.append(bob!.of('kept')!, { entries: [{ payload: 'a' }] })
      await until(() => calls.includes('changed'), 'an entry')
      assert.deepEqual(calls.splice(0), ['1 a', 'changed'])
      await bob!.append(bob!.of('kept')!, { entries: [], set: { active: 'bob' } })
      await until(() => calls.length > 0, 'an attribute')
      assert.deepEqual(calls, ['changed'])
    })
  })
})
