import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { FilterModule, Server, Target } from '../../src/index.ts'
import { testServer } from '../../src/testing/index.ts'

/** Notifies a client that was removed from a topic. */
const notifies: FilterModule = {
  open: client => client.onRemoved((topic, why) => client.send(`removed from ${topic}: ${why}`)),
}

async function serve(t: TestContext, ...filters: FilterModule[]) {
  const made = await testServer([notifies, ...filters])
  t.after(() => made.stop())
  const [ann, bob] = [await made.connect(), await made.connect()]
  for (const { client } of [ann, bob]) for (const topic of ['a', 'b']) client.join(topic)
  ann.client.identity = 'ann'
  return { ...made, ann, bob }
}

describe('server.unsubscribe', () => {
  for (const [what, target, who] of [
    ['an identity', () => ({ sub: 'ann' }), ['ann']],
    ['an id', id => ({ id }), ['ann']],
    ['an id with its identity', id => ({ id, sub: 'ann' }), ['ann']],
    ['an id with another identity', id => ({ id, sub: 'bob' }), []],
    ['a topic', () => ({ topic: 'b' }), ['ann', 'bob']],
    ['members of a topic without any', () => ({ topic: 'c' }), []],
  ] as [string, (id: string) => Target, string[]][]) {
    it(`removes the clients of ${what} from a topic`, async t => {
      const { server, flush, ann, bob } = await serve(t)
      server.unsubscribe(target(ann.client.id), 'a')
      server.broadcast('to a', { topic: 'a' })
      server.broadcast('to b', { topic: 'b' })
      flush()
      for (const [name, { received }] of Object.entries({ ann, bob }))
        assert.deepEqual(received, [who.includes(name) ? 'removed from a: unsubscribed' : 'to a', 'to b'], name)
    })
  }

  it('says nothing to clients that are no members, and those removed may join again', async t => {
    const { server, flush, ann } = await serve(t)
    for (const topic of ['c', 'a', 'a']) server.unsubscribe({ sub: 'ann' }, topic)
    ann.client.join('a')
    server.broadcast('to a', { topic: 'a' })
    flush()
    assert.deepEqual(ann.received, ['removed from a: unsubscribed', 'to a'])
  })

  it('refuses another target or topic', async t => {
    const { server } = await serve(t)
    const throwsFor = (target: unknown, topic: unknown, message: RegExp) =>
      assert.throws(() => (server as Server).unsubscribe(target as Target, topic as string), {
        code: 'ERR_STATE',
        message,
      })
    for (const target of [undefined, {}, { sub: 7 }, { sub: 'a', topic: 'b' }])
      throwsFor(
        target,
        'a',
        /^unsubscribe\(\) takes one of \{ id \}, \{ sub \}, \{ topic \}, or \{ id, sub \}, received /,
      )
    throwsFor({ sub: 'ann' }, 7, /^unsubscribe\(\) takes a topic, received 7$/)
  })
})

describe('a client that may no longer join a topic', () => {
  it('is removed at the recheck', async t => {
    let isOpen = true
    const { ann, flush } = await serve(t, { permit: ({ topic }) => isOpen || topic === 'b' })
    isOpen = false
    await ann.client.recheck()
    flush()
    assert.deepEqual([ann.received, [...ann.client.topics]], [['removed from a: forbidden'], ['b']])
  })

  it('is removed although a handler fails', async t => {
    const fails: FilterModule = { open: client => client.onRemoved(() => assert.fail('broken')) }
    const { server, logged, ann } = await serve(t, fails)
    server.unsubscribe({ sub: 'ann' }, 'a')
    assert.deepEqual([...ann.client.topics], ['b'])
    assert.match(JSON.stringify(logged), /a filter failed when a client was removed from a topic/)
    assert.equal(server.counters.errors, 1)
  })
})
