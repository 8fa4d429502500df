import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type Client,
  type Codec,
  DROP,
  type FilterModule,
  type Joined,
  type JoinOptions,
  type Payload,
  type Position,
  type Retention,
} from '../../src/index.ts'
import { type TestServer, testServer } from '../../src/testing/index.ts'
import { gate } from '../support/gate.ts'
import { until } from '../support/peer.ts'

const RETENTION: Retention = { size: 100, ttlMs: 60_000, full: 'trim' }
/** Keeps the topics that begin with `kept`. */
const keeps: FilterModule = { retain: topic => (topic.startsWith('kept') ? RETENTION : undefined) }
/** Shows the position of each message. */
const numbered: Codec = {
  name: 'numbered',
  encode: (payload, _, about) => (about?.position === undefined ? payload : `${about.position.offset} ${payload}`),
  lost: ({ position }, reason) => `lost up to ${position.offset}: ${reason}`,
}
const withPositions: FilterModule = {
  open: client => {
    client.codec = numbered
  },
}

type Test = { after(end: () => Promise<void>): void }

async function serve(t: Test, filters: readonly FilterModule[], options = {}): Promise<TestServer> {
  const server = await testServer([...filters, keeps, withPositions], options)
  t.after(() => server.stop())
  return server
}

/** Lets announcements, joins and flushes happen. */
async function settle(server: TestServer): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  server.flush()
}

const offsetOf = (outcome: unknown) => (outcome as { position: Position }).position.offset
const joinAt = (client: Client, topic: string, after: JoinOptions['after']) => client.join(topic, { after })

describe('a topic that is kept', () => {
  it('delivers in the order of the offsets, to the publisher too, and other topics as before', async t => {
    const server = await serve(t, [])
    const [ann, bob] = [await server.connect(), await server.connect()]
    for (const { client } of [ann, bob]) for (const topic of ['kept', 'other']) client.join(topic)
    await settle(server)
    for (let i = 1; i <= 3; i++) {
      server.server.broadcast(`b${i}`, { topic: 'kept', except: ann.client })
      server.server.broadcast(`o${i}`, { topic: 'other' })
    }
    assert.equal(
      offsetOf(
        await server.server.append(
          'kept',
          ['x', 'y'].map(payload => ({ payload })),
        ),
      ),
      5,
    )
    await settle(server)
    const kept = (received: readonly Payload[]) => received.filter(text => /^\d/.test(String(text)))
    assert.deepEqual(kept(bob.received), ['1 b1', '2 b2', '3 b3', '4 x', '5 y'])
    assert.deepEqual(kept(ann.received), ['4 x', '5 y'])
    assert.deepEqual(
      bob.received.filter(text => String(text).startsWith('o')),
      ['o1', 'o2', 'o3'],
    )
  })

  it('keeps the Buffer of a broadcast as it was', async t => {
    const server = await serve(t, [])
    const ann = await server.connect()
    ann.client.join('kept')
    await settle(server)
    const payload = Buffer.from('as it was')
    server.server.broadcast(payload, { topic: 'kept' })
    payload.fill(0)
    await settle(server)
    assert.deepEqual(ann.received, ['1 as it was'])
  })

  it('what is sent after an append follows its entries', async t => {
    const server = await serve(t, [])
    const ann = await server.connect()
    ann.client.join('kept')
    await server.server.append('kept', 'one')
    ann.client.send('two')
    server.flush()
    assert.deepEqual(ann.received, ['1 one', 'two'])
  })

  it('a disconnect comes after the broadcasts before it', async t => {
    const server = await serve(t, [])
    const ann = await server.connect()
    ann.client.join('kept')
    await settle(server)
    server.server.broadcast('last', { topic: 'kept' })
    server.server.disconnect({ topic: 'kept' }, 4000)
    await until(() => ann.closed !== undefined)
    assert.deepEqual([ann.received, ann.closed!.code], [['1 last'], 4000])
  })

  it('reads and trims, and refuses topics that are not kept', async t => {
    const { server } = await serve(t, [])
    for (const payload of ['a', 'b', 'c']) await server.append('kept', payload)
    const range = { from: 'oldest', entries: 10, bytes: 1000 } as const
    const page = await server.read('kept', range)
    assert.deepEqual(
      page.entries.map(({ payload }) => payload),
      ['a', 'b', 'c'],
    )
    await server.trim('kept', { ...page.top, offset: 2 })
    assert.equal((await server.read('kept', range)).entries.length, 1)
    const why = { code: 'ERR_STATE', message: 'append() needs a kept topic; topic "other" is not kept: see -f streams' }
    await assert.rejects(server.append('other', 'x'), why)
  })

  it('without a filter that keeps topics there is none', async t => {
    const server = await testServer([])
    t.after(() => server.stop())
    const message = 'read() needs a kept topic; no filter keeps topics: see -f streams'
    await assert.rejects(server.server.read('kept', { from: 'oldest', entries: 1, bytes: 1 }), { message })
    const ann = await server.connect()
    assert.deepEqual(await joinAt(ann.client, 'kept', 'now'), { position: undefined, recovered: true, entries: [] })
    assert.deepEqual(await joinAt(ann.client, 'other', 'earliest'), {
      position: undefined,
      recovered: false,
      entries: [],
    })
  })

  for (const [what, retain, problem] of [
    ['a size of 0', () => ({ ...RETENTION, size: 0 }), /returned \{/],
    ['a ttl that is no number', () => ({ ...RETENTION, ttlMs: '5m' as never }), /retain handler returns/],
    ['a wrong policy', () => ({ ...RETENTION, full: 'drop' as never }), /retain handler returns/],
    ['an error', () => assert.fail('broken'), /broken/],
  ] as const) {
    it(`a retain handler with ${what} is reported, and the topic is not kept`, async t => {
      const server = await serve(t, [{ retain: topic => (topic === 'x' ? retain() : undefined) }])
      await assert.rejects(server.server.append('x', 'y'), { code: 'ERR_STATE' })
      await server.server.append('kept', 'y')
      assert.match(JSON.stringify(server.logged), problem)
    })
  }

  it('messages to everyone can be kept, and a client that returns gets them', async t => {
    const everyone: FilterModule = { retain: topic => (topic === '@everyone' ? RETENTION : undefined) }
    const server = await serve(t, [everyone])
    const ann = await server.connect()
    await settle(server)
    server.server.broadcast('to all')
    await settle(server)
    assert.deepEqual(ann.received, ['1 to all'])
    for (const topic of ['@everyone']) assert.throws(() => ann.client.join(topic), { code: 'ERR_STATE' })
  })
})

describe('a join at a position', () => {
  it('gets everything behind it before later entries', async t => {
    const server = await serve(t, [])
    for (let i = 1; i <= 5; i++) await server.server.append('kept', `m${i}`)
    const [now, earliest, back] = [await server.connect(), await server.connect(), await server.connect()]
    const { position } = await joinAt(now.client, 'kept', 'now')
    assert.equal(position!.offset, 5)
    const joined = await joinAt(earliest.client, 'kept', 'earliest')
    assert.deepEqual([joined.recovered, joined.entries.length], [true, 5])
    await joinAt(back.client, 'kept', { ...position!, offset: 3 })
    await server.server.append('kept', 'm6')
    server.flush()
    assert.deepEqual(now.received, ['6 m6'])
    assert.deepEqual(earliest.received, ['1 m1', '2 m2', '3 m3', '4 m4', '5 m5', '6 m6'])
    assert.deepEqual(back.received, ['4 m4', '5 m5', '6 m6'])
    assert.deepEqual(server.server.counters.streams.recovered, 2)
  })

  for (const [what, after, lost] of [
    ['of another epoch', { epoch: 'another', offset: 2 }, 'epoch'],
    ['ahead of the top', { offset: 1000 }, 'ahead'],
    ['whose entries are not kept any more', { offset: 1 }, 'trimmed'],
  ] as const) {
    it(`${what} is refused, and the client is a member from the top on`, async t => {
      const server = await serve(t, [])
      for (let i = 1; i <= 105; i++) await server.server.append('kept', `m${i}`)
      const ann = await server.connect()
      const { top } = await server.server.read('kept', { from: 'newest', entries: 1, bytes: 1 })
      const joined = await joinAt(ann.client, 'kept', { ...top, ...after })
      assert.deepEqual(joined, { position: top, recovered: false, lost, entries: [] })
      await server.server.append('kept', 'next')
      server.flush()
      assert.deepEqual(ann.received, [`lost up to 105: ${lost}`, '106 next'])
      assert.deepEqual({ ...server.server.counters.streams.lost }, { [lost]: 1 })
    })
  }

  for (const after of ['later', {}, { epoch: 'x' }, { epoch: 'x', offset: -1 }, { epoch: 1, offset: 1 }, null, 7]) {
    it(`${JSON.stringify(after)} is refused: it is none`, async t => {
      const server = await serve(t, [])
      const ann = await server.connect()
      await assert.rejects(joinAt(ann.client, 'kept', after as never), {
        code: 'ERR_STATE',
        message: /^join\(\) takes/,
      })
      assert.equal(ann.client.topics.size, 0)
    })
  }

  it('twice is refused', async t => {
    const server = await serve(t, [])
    const ann = await server.connect()
    await joinAt(ann.client, 'kept', 'now')
    await assert.rejects(joinAt(ann.client, 'kept', 'earliest'), { code: 'ERR_STATE', message: /member of the topic/ })
  })

  it('more than --max-buffered comes in pages, each when the one before is written', async t => {
    const server = await serve(t, [], { 'max-buffered': 10_000 })
    for (let i = 1; i <= 50; i++) await server.server.append('kept', 'x'.repeat(1000))
    const ann = await server.connect()
    await joinAt(ann.client, 'kept', 'earliest')
    await server.server.append('kept', 'last')
    await until(() => {
      server.flush()
      return ann.received.length === 51
    })
    assert.deepEqual(
      ann.received.map(text => Number.parseInt(String(text), 10)),
      Array.from({ length: 51 }, (_, i) => i + 1),
    )
    assert.equal(ann.closed, undefined)
  })

  it('more than recoverBytes is lost as a whole', async t => {
    const small: FilterModule = { retain: () => ({ ...RETENTION, recoverBytes: 3000 }) }
    const server = await serve(t, [small])
    for (let i = 1; i <= 10; i++) await server.server.append('kept', 'x'.repeat(500))
    const [ann, bob] = [await server.connect(), await server.connect()]
    const lost = await joinAt(ann.client, 'kept', 'earliest')
    assert.deepEqual([lost.recovered, lost.lost, lost.entries], [false, 'too much', []])
    const few = await joinAt(bob.client, 'kept', { ...lost.position!, offset: 7 })
    assert.deepEqual([few.recovered, few.entries.length], [true, 3])
  })

  it('calls onJoined in the turn of the membership: what it sends comes before later entries', async t => {
    const server = await serve(t, [])
    await server.server.append('kept', 'old')
    const ann = await server.connect()
    const onJoined = ({ entries }: Joined) => ann.client.send(`joined with ${entries.length}`)
    void ann.client.join('kept', { after: 'earliest', onJoined })
    void server.server.append('kept', 'new')
    await settle(server)
    assert.ok(['joined with 2', 'joined with 1,2 new'].includes(String(ann.received)), String(ann.received))
  })

  it('of a client that leaves or goes meanwhile is rejected', async t => {
    const server = await serve(t, [])
    const [ann, bob] = [await server.connect(), await server.connect()]
    const left = joinAt(ann.client, 'kept', 'earliest')
    ann.client.leave('kept')
    await assert.rejects(left, { code: 'ERR_STATE', message: /has left the topic/ })
    const gone = joinAt(bob.client, 'kept', 'earliest')
    bob.client.disconnect()
    await assert.rejects(gone, { code: 'ERR_STATE', message: /is disconnected/ })
  })

  it('needs the right to join, and for the past the right to read', async t => {
    const asked: string[] = []
    const permit: FilterModule['permit'] = ({ action, topic }) => {
      asked.push(`${action} ${topic}`)
      return action === 'join' ? topic !== 'kept-secret' : false
    }
    const server = await serve(t, [{ permit }])
    const { client } = await server.connect()
    await assert.rejects(joinAt(client, 'kept', 'earliest'), { message: 'not allowed to read "kept"' })
    await joinAt(client, 'kept', 'now')
    await assert.rejects(joinAt(client, 'kept-secret', 'now'), { message: 'not allowed to join "kept-secret"' })
    const range = { from: 'oldest', entries: 1, bytes: 1 } as const
    await assert.rejects(client.server.read('kept', range), { code: 'ERR_FORBIDDEN' })
    await assert.rejects(client.server.append('kept', 'x'), { code: 'ERR_FORBIDDEN' })
    assert.deepEqual(asked, ['read kept', 'join kept', 'join kept-secret', 'read kept', 'publish kept'])
  })

  it('of a client on hold waits; one that is held again resumes where it was', async t => {
    const holds: FilterModule = {
      message: (payload, client) => {
        if (payload === 'hold') client.hold()
        if (payload === 'admit') client.admit()
        return DROP
      },
    }
    const server = await serve(t, [holds])
    const ann = await server.connect()
    await joinAt(ann.client, 'kept', 'now')
    await server.server.append('kept', 'one')
    await ann.say('hold')
    await server.server.append('kept', 'two')
    await server.server.append('kept', 'three')
    server.flush()
    assert.deepEqual(ann.received, ['1 one'])
    await ann.say('admit')
    await settle(server)
    assert.deepEqual(ann.received, ['1 one', '2 two', '3 three'])
  })
})

describe('client.publish', () => {
  it('asks the permits, runs the publish handlers, then appends or broadcasts', async t => {
    const publish: FilterModule['publish'] = ({ topic, payload }, from) => {
      if (payload === 'bad') return DROP
      return `${topic} of ${from?.identity}: ${payload}`
    }
    const permit: FilterModule['permit'] = ({ action, topic }) => action === 'join' || topic !== 'kept-secret'
    const server = await serve(t, [{ publish, permit }])
    const [ann, bob] = [await server.connect(), await server.connect()]
    ann.client.identity = 'ann'
    for (const topic of ['kept', 'other']) bob.client.join(topic)
    assert.equal(((await ann.client.publish('kept', 'hi')) as Position).offset, 1)
    assert.equal(await ann.client.publish('other', 'hi'), undefined)
    assert.equal(await ann.client.publish('kept', 'bad'), DROP)
    await assert.rejects(ann.client.publish('kept-secret', 'hi'), { code: 'ERR_FORBIDDEN' })
    await settle(server)
    assert.deepEqual(bob.received, ['1 kept of ann: hi', 'other of ann: hi'])
  })

  it('with a key appends once', async t => {
    const server = await serve(t, [])
    const { client } = await server.connect()
    const first = await client.publish('kept', 'pay', { key: 'order 7' })
    assert.deepEqual(await client.publish('kept', 'pay', { key: 'order 7' }), first)
    assert.equal(server.server.counters.streams.appended, 1)
  })

  it('to a stream that is full and refuses is rejected', async t => {
    const queue: FilterModule = { retain: () => ({ ...RETENTION, size: 1, full: 'refuse' }) }
    const server = await serve(t, [queue])
    const { client } = await server.connect()
    await client.publish('kept', 'one')
    await assert.rejects(client.publish('kept', 'two'), { code: 'ERR_LIMIT', message: 'topic "kept" is full' })
    assert.equal(server.server.counters.streams.refused, 1)
  })

  it('a failing handler rejects, and the error is reported', async t => {
    const server = await serve(t, [{ publish: () => assert.fail('broken') }])
    const { client } = await server.connect()
    await assert.rejects(client.publish('kept', 'x'), { code: 'ERR_FILTER' })
    assert.match(JSON.stringify(server.logged), /broken/)
  })

  it('of the operator passes the handlers without a client, and no permit', async t => {
    const publish: FilterModule['publish'] = ({ payload }, from) =>
      payload === 'bad' ? DROP : `${from?.id}: ${payload}`
    const permit: FilterModule['permit'] = ({ action }) => action === 'join'
    const { server, connect, ...made } = await serve(t, [{ publish, permit }])
    const ann = await connect()
    for (const topic of ['kept', 'other']) ann.client.join(topic)
    assert.deepEqual(
      ['kept', 'other', '@everyone'].map(topic => server.keeps(topic)),
      [true, false, false],
    )
    const first = await server.publishTo('kept', 'hi', { key: 'order 7' })
    assert.equal((first as Position).offset, 1)
    assert.deepEqual(await server.publishTo('kept', 'hi', { key: 'order 7' }), first)
    assert.equal(await server.publishTo('other', 'hi'), undefined)
    assert.equal(await server.publishTo('kept', 'bad'), DROP)
    await assert.rejects(ann.client.server.publishTo('kept', 'hi'), { code: 'ERR_FORBIDDEN' })
    await assert.rejects(server.publishTo(7 as never, 'hi'), {
      code: 'ERR_STATE',
      message: 'publish() takes a topic, received 7',
    })
    await settle({ server, connect, ...made })
    assert.deepEqual(ann.received, ['1 undefined: hi', 'undefined: hi'])
  })

  it('a message of a filter does not pass the handlers', async t => {
    const { opened, open } = gate()
    const server = await serve(t, [{ publish: () => DROP }])
    const ann = await server.connect()
    ann.client.join('kept')
    await server.server.append('kept', 'of a filter').then(open)
    await opened
    server.flush()
    assert.deepEqual(ann.received, ['1 of a filter'])
  })
})
