import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as passed } from 'node:timers/promises'
import type { Access, Client } from '../../src/contract/client.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { testServer } from '../../src/testing/index.ts'
import { until } from '../support/peer.ts'

/** The commands of clients: `join T`, `leave T`, `say T`, `later T` (publishes after an await), `all`. */
const rooms: FilterModule = {
  message: async (payload: Payload, client: Client) => {
    const [verb, topic] = String(payload).split(' ')
    if (verb === 'later') await passed(5)
    if (verb === 'join') {
      client.join(topic!)
      client.send(`joined ${topic}`)
    } else if (verb === 'all') client.server.broadcast('to all')
    else client.server.broadcast(`to ${topic}`, { topic: topic! })
  },
}

const only = (...topics: (string | undefined)[]): FilterModule => ({
  permit: ({ topic }: Access) => topics.includes(topic),
})

describe('permits', () => {
  it('let a client join and publish if all of them agree', async () => {
    const { connect, stop } = await testServer([only('a', 'b'), only('b', 'c'), rooms])
    const ann = await connect()
    await ann.say('join b')
    await ann.say('say b')
    assert.deepEqual(ann.received, ['joined b', 'to b'])
    for (const topic of ['a', 'c']) {
      await ann.say(`join ${topic}`)
      assert.equal(ann.received.at(-1), `Error: not allowed to join "${topic}"`)
    }
    assert.deepEqual([...ann.client.topics], ['b'])
    await stop()
  })

  it('apply to a publish after an await, and to broadcasts without a topic', async () => {
    const { server, connect, stop } = await testServer([only('a'), rooms])
    const [ann, bob] = [await connect(), await connect()]
    await bob.say('join a')
    await Promise.all([ann.say('later a'), bob.say('later b'), ann.say('all')])
    assert.deepEqual(bob.received, ['joined a', 'to a', 'Error: not allowed to publish to "b"'])
    assert.deepEqual(ann.received, ['Error: not allowed to publish to everyone'])
    assert.equal(server.counters.drops.forbidden, 2)
    assert.equal(server.counters.errors, 0)
    await stop()
  })

  it('apply to messages of clients, not to the server or to events of channels', async () => {
    const relay: FilterModule = {
      message: (payload, client) => client.server.publish('global', payload),
      consumer: async ({ payload }, server) => {
        await passed(1)
        server.broadcast(payload)
      },
    }
    const { server, connect, flush, stop } = await testServer([only(), relay])
    const [ann, bob] = [await connect(), await connect()]
    server.broadcast('news')
    flush()
    assert.deepEqual(ann.received, ['news'])
    await Promise.all([ann.say('one'), bob.say('two')])
    await until(() => ann.received.length === 3)
    assert.deepEqual(ann.received, ['news', 'one', 'two'])
    assert.equal(server.counters.errors, 0)
    await stop()
  })

  it('apply to each client separately, in any order of messages', async () => {
    const ofBoss: FilterModule = { permit: (_, client) => client.identity === 'boss' }
    const queue: FilterModule = {
      // Ann's handler begins, the boss's is done while it waits.
      message: async (payload, client) => {
        if (client.identity !== 'boss') await passed(5)
        client.server.broadcast(payload)
      },
    }
    const { connect, stop } = await testServer([ofBoss, queue])
    const [ann, boss] = [await connect(), await connect()]
    boss.client.identity = 'boss'
    await Promise.all([ann.say('mine'), boss.say('ours')])
    assert.deepEqual(ann.received, ['ours', 'Error: not allowed to publish to everyone'])
    assert.deepEqual(boss.received, ['ours'])
    await stop()
  })

  it('are checked by client.may without side effects', async () => {
    const { connect, stop } = await testServer([only('a', undefined)])
    const { client, received } = await connect()
    assert.equal(client.may('join', 'a'), true)
    assert.equal(client.may('publish'), true)
    assert.equal(client.may('join', 'b'), false)
    assert.deepEqual(received, [])
    await stop()
  })

  for (const [what, permit] of [
    ['throws', () => assert.fail('broken')],
    ['returns undefined', () => undefined],
    ['returns a promise', async () => true],
    ['returns a promise that rejects', () => Promise.reject(new Error('broken'))],
  ] as const)
    it(`refuse when one of them ${what}`, async () => {
      const { server, connect, stop } = await testServer([{ permit: permit as never }, rooms])
      const ann = await connect()
      await ann.say('join a')
      assert.deepEqual(ann.received, ['Error: not allowed to join "a"'])
      assert.equal(server.counters.errors, 1)
      await stop()
    })

  it('refuse the handshake if a connect filter joins a forbidden topic', async () => {
    const { connect, stop } = await testServer([only(), { connect: client => client.join('a') }])
    await assert.rejects(connect(), /403/)
    await stop()
  })

  it('close the client if an open filter joins a forbidden topic', async () => {
    const { server, connect, stop } = await testServer([only(), { open: client => client.join('a') }])
    const { closed, received } = await connect()
    assert.deepEqual(closed, { code: 1008, reason: 'not allowed' })
    assert.deepEqual(received, ['Error: not allowed to join "a"'])
    assert.equal(server.counters.errors, 0)
    await stop()
  })

  it('shorten a long topic in the error', async () => {
    const { connect, stop } = await testServer([only(), rooms])
    const ann = await connect()
    await ann.say(`join ${'x'.repeat(5000)}`)
    assert.equal(ann.received[0], `Error: not allowed to join "${'x'.repeat(100)}…"`)
    await stop()
  })
})

it('an identity is a string or undefined', async () => {
  const { connect, stop } = await testServer(['echo'])
  const { client } = await connect()
  client.identity = 'ann'
  for (const wrong of [null, '', 0, {}])
    assert.throws(() => Object.assign(client, { identity: wrong }), { code: 'ERR_STATE' })
  assert.equal(client.identity, 'ann')
  client.identity = undefined
  await stop()
})

describe('server.disconnect', () => {
  const setUp = async () => {
    const made = await testServer([rooms])
    const peers = await Promise.all(Array.from({ length: 3 }, () => made.connect()))
    return { ...made, peers: peers as [(typeof peers)[0], (typeof peers)[0], (typeof peers)[0]] }
  }

  it('disconnects one client, all of an identity, or all of a topic', async () => {
    const {
      server,
      peers: [ann, bob, cy],
      stop,
    } = await setUp()
    server.disconnect({ id: ann.client.id }, 4001, 'you')
    assert.deepEqual(ann.closed, { code: 4001, reason: 'you' })
    bob.client.identity = 'bob'
    server.disconnect({ sub: 'bob' }, 4002)
    assert.equal(bob.closed?.code, 4002)
    cy.client.join('room')
    server.broadcast('last words', { topic: 'room' })
    server.disconnect({ topic: 'room' })
    assert.equal(cy.closed?.code, 1000)
    assert.deepEqual(cy.received, ['last words'])
    assert.equal(server.clients.size, 0)
    await stop()
  })

  it('disconnects clients on hold and clients in the handshake', async () => {
    const holding: FilterModule = {
      connect: async client => {
        client.identity = 'late'
        if (client.handshake!.url.pathname === '/slow') await passed(20)
      },
      open: client => {
        client.join('room')
        client.hold()
      },
    }
    const { server, connect, stop } = await testServer([holding])
    const held = await connect()
    server.disconnect({ topic: 'room' }, 4000)
    assert.equal(held.closed?.code, 4000)
    const slow = connect({ url: '/slow' })
    server.disconnect({ sub: 'late' }, 4001)
    await assert.rejects(slow, /403/)
    await stop()
  })

  it('copies its argument, which may change later', async () => {
    const { server, peers, stop } = await setUp()
    const target = { id: peers[0].client.id }
    server.disconnect(target)
    target.id = peers[1].client.id
    assert.equal(server.clients.size, 2)
    await stop()
  })

  it('refuses an invalid target and an invalid close code', async () => {
    const { server, stop } = await setUp()
    for (const target of [{}, { id: 'a', topic: 'b' }, { name: 'x' }, { id: 1 }, undefined])
      assert.throws(() => server.disconnect(target as never), { code: 'ERR_STATE' })
    assert.throws(() => server.disconnect({ id: 'a' }, 1006), { code: 'ERR_CLOSE_CODE' })
    assert.equal(server.clients.size, 3)
    await stop()
  })

  it('of a topic hold for its presence: join and read as join, publish never', async t => {
    const asked: string[] = []
    const joins: FilterModule = {
      permit: ({ action, topic }) => {
        asked.push(`${action} ${topic}`)
        return action === 'join' && topic === 'a'
      },
    }
    const { connect, stop } = await testServer([joins])
    t.after(stop)
    const { client } = await connect()
    for (const [action, topic, expected] of [
      ['join', '@presence/a', ['join a']],
      ['read', '@presence/a', ['join a']],
      ['publish', '@presence/a', undefined],
      ['join', '@presence/b', undefined],
      ['join', '@presence/', undefined],
      ['join', '@presence/@presence/a', undefined],
      ['join', `${'@presence/'.repeat(100_000)}a`, undefined],
      ['join', '@presence', undefined],
    ] as const) {
      asked.length = 0
      assert.equal(client.may(action, topic), expected !== undefined, `${action} ${topic.slice(0, 30)}`)
      if (expected !== undefined) assert.deepEqual(asked, expected)
    }
    client.join('@presence/a')
    await assert.rejects(client.publish('@presence/a', 'x'), { message: 'not allowed to publish to "@presence/a"' })
  })

  it('without permits a client may watch the presence of a topic, and not publish to it', async t => {
    const { connect, stop } = await testServer([{ message: () => {} }])
    t.after(stop)
    const { client } = await connect()
    client.join('@presence/a')
    await assert.rejects(client.publish('@presence/a', 'x'), { code: 'ERR_FORBIDDEN' })
  })
})
