import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Client, FilterModule } from '../../src/index.ts'
import { until } from '../support/peer.ts'
import { startTestServer } from '../support/test-server.ts'

/** Collects the calls of its handlers. */
function collector() {
  const calls: string[] = []
  const filter: FilterModule = {
    retain: topic => (topic === 'kept' ? { size: 10, ttlMs: 60_000, full: 'trim' } : undefined),
    joined: (topic, { identity = 'ann' }) => void calls.push(`${identity} joined ${topic}`),
    left: (topic, { identity = 'ann' }) => void calls.push(`${identity} left ${topic}`),
  }
  /** The calls so far, which are forgotten. */
  return { filter, taken: () => calls.splice(0) }
}

describe('joined and left', () => {
  it('are called once for each membership, on topics that are kept and others', async t => {
    const { filter, taken } = collector()
    const { connect } = await startTestServer(t, [filter])
    const { client } = await connect()
    assert.deepEqual(taken(), [])
    for (const topic of ['a', 'kept']) {
      client.join(topic)
      client.join(topic)
      await client.join(`${topic}/2`, { after: 'now' })
      assert.deepEqual(taken(), [`ann joined ${topic}`, `ann joined ${topic}/2`])
      client.leave(topic)
      client.leave(topic)
      client.leave('other')
      assert.deepEqual(taken(), [`ann left ${topic}`])
    }
  })

  it('are called at the disconnect for each topic, before the disconnect chain', async t => {
    const { filter, taken } = collector()
    const seen: string[][] = []
    const last: FilterModule = { disconnect: () => void seen.push(taken()) }
    const { connect } = await startTestServer(t, [filter, last])
    const [ann, bob] = [await connect(), await connect()]
    for (const topic of ['a', 'b']) ann.client.join(topic)
    bob.client.identity = 'bob'
    bob.client.join('a')
    taken()
    await ann.leave()
    bob.client.disconnect(1000)
    await until(() => seen.length === 2)
    assert.deepEqual(seen, [['ann left a', 'ann left b'], ['bob left a']])
  })

  it('follow the admission of a pending client, and its next hold', async t => {
    const { filter, taken } = collector()
    let held: Client | undefined
    const holder: FilterModule = {
      connect: client => {
        held = client
        client.hold()
        client.join('a')
      },
      message: (_, client) => client.hold(),
    }
    const { connect } = await startTestServer(t, [holder, filter])
    const { client, say } = await connect()
    client.join('b')
    client.leave('b')
    client.join('kept')
    assert.deepEqual(taken(), [])
    held!.admit()
    assert.deepEqual(taken(), ['ann joined a', 'ann joined kept'])
    await say('hold me')
    assert.deepEqual(taken(), ['ann left a', 'ann left kept'])
    held!.admit()
    assert.deepEqual(taken(), ['ann joined a', 'ann joined kept'])
  })

  it('follow the loss of a right', async t => {
    const { filter, taken } = collector()
    const guard: FilterModule = { stage: 'guard', permit: ({ topic }, { identity }) => topic === (identity ?? topic) }
    const { connect } = await startTestServer(t, [guard, filter])
    const { client } = await connect()
    for (const topic of ['a', 'b']) client.join(topic)
    taken()
    client.identity = 'b'
    await client.recheck()
    assert.deepEqual(taken(), ['b left a'])
    assert.throws(() => client.join('a'), { code: 'ERR_FORBIDDEN' })
    assert.deepEqual(taken(), [])
  })

  it('of all filters run, whatever one of them throws or returns', async t => {
    const { filter, taken } = collector()
    const bad: FilterModule = {
      joined: () => {
        throw new Error('broken')
      },
      left: (async () => {
        throw new Error('late')
      }) as never,
    }
    const { server, connect, logged } = await startTestServer(t, [bad, filter])
    const { client } = await connect()
    client.join('a')
    client.leave('a')
    assert.deepEqual(taken(), ['ann joined a', 'ann left a'])
    assert.equal(server.counters.errors, 2)
    await until(() => logged.filter(({ level }) => level === 50).length === 2)
    assert.deepEqual(
      logged.flatMap(({ err, chain }) => (err === undefined ? [] : [`${chain}: ${(err as Error).message}`])),
      ['joined: broken', 'left: returned a promise; a left handler is synchronous'],
    )
  })
})
