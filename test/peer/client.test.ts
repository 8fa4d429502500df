import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import * as broadcast from '../../filters/broadcast.ts'
import type { Client } from '../../src/contract/client.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { Refused, type TestClient, type TestServer } from '../../src/testing/index.ts'
import { gate } from '../support/gate.ts'
import { until } from '../support/peer.ts'
import { startTestServer as serve } from '../support/test-server.ts'

declare module 'filtered-websocket' {
  interface ClientState {
    nickname?: string
  }
  interface MessageViews {
    words?: readonly string[]
  }
}

const nothing: FilterModule = { open: () => {} }

const codeOf = (peer: TestClient) => peer.closed?.code

const errorsOf = (server: TestServer) =>
  server.logged.filter(line => line.level === 50).map(line => (line.err as { message: string }).message)

describe('send', () => {
  it('before the client is open is queued until it is, in order', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.send('connect 1')
          client.send(Buffer.from('connect 2'))
        },
        open: client => client.send('open'),
      },
    ])
    const { received } = await server.connect()
    server.flush()
    assert.deepEqual(received, ['connect 1', Buffer.from('connect 2'), 'open'])
  })

  it('before the client is open is bounded', async t => {
    const server = await serve(t, [{ connect: client => client.send('x'.repeat(200)) }], { 'max-buffered': 100 })
    await assert.rejects(server.connect(), { message: 'refused with 500' })
    assert.match(errorsOf(server)[0]!, /^client \S+ is not open yet: 20\d bytes wait for it, --max-buffered is 100$/)
  })

  it('to a client that has left is counted, and does not throw', async t => {
    const server = await serve(t, [nothing])
    const { client, received, leave } = await server.connect()
    await leave()
    client.send('late')
    server.server.broadcast('late too')
    server.flush()
    assert.deepEqual([received, server.server.counters.drops['closed client']], [[], 1])
  })

  it('after disconnect() is counted, and does not throw', async t => {
    const server = await serve(t, [
      {
        message(_, client) {
          client.send('before')
          client.disconnect()
          client.send('after')
        },
      },
    ])
    const peer = await server.connect()
    await peer.say('x')
    assert.deepEqual([peer.received, server.server.counters.drops['closed client']], [['before'], 1])
  })

  it('counts in buffered until it is written', async t => {
    const server = await serve(t, [nothing])
    const { client } = await server.connect()
    assert.equal(client.buffered, 0)
    client.send('x'.repeat(1000))
    assert.ok(client.buffered >= 1000)
    server.flush()
    assert.equal(client.buffered, 0)
  })

  for (const [payload, called] of [
    [{ a: 1 }, 'object'],
    [['a'], 'object'],
    [new Uint8Array(1), 'object'],
    [7, 'number'],
    [null, 'null'],
    [undefined, 'undefined'],
    [true, 'boolean'],
    [() => {}, 'function'],
  ] as const) {
    it(`${called === 'object' ? JSON.stringify(payload) : called} is refused with a reason by send, answer, broadcast and publish`, async t => {
      const server = await serve(t, [nothing])
      const { client } = await server.connect()
      const wrong = payload as unknown as Payload
      const refused = (operation: string) => ({
        code: 'ERR_PAYLOAD',
        message: `${operation} takes a string or a Buffer, received ${called}; JSON.stringify an object`,
      })
      assert.throws(() => client.send(wrong), refused('send'))
      assert.throws(() => client.answer(wrong), refused('answer'))
      assert.throws(() => server.server.broadcast(wrong), refused('broadcast'))
      assert.throws(() => server.server.broadcast(wrong, { topic: 'nobody is here' }), refused('broadcast'))
      assert.throws(() => server.server.publish('global', wrong), refused('publish'))
    })
  }
})

describe('topics', () => {
  it('joined in connect apply from the opening on', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.join('a')
          client.join('b')
          client.leave('b')
        },
        open: client => client.server.broadcast('opened', { topic: 'a' }),
      },
    ])
    const { client, received } = await server.connect()
    server.server.broadcast('to a', { topic: 'a' })
    server.server.broadcast('to b', { topic: 'b' })
    server.flush()
    assert.deepEqual(received, ['opened', 'to a'])
    assert.deepEqual(client.topics, new Set(['a']))
  })

  it('of a client that is not open yet deliver nothing', async t => {
    const { opened, open } = gate()
    const server = await serve(t, [
      {
        async connect(client) {
          client.join('a')
          await opened
        },
      },
    ])
    const connecting = server.connect()
    server.server.broadcast('too early', { topic: 'a' })
    open()
    const { received } = await connecting
    server.flush()
    assert.deepEqual(received, [])
  })

  it('joined twice deliver once, and are left at once', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    client.join('a')
    client.join('a')
    server.server.broadcast('one', { topic: 'a' })
    client.join('a')
    client.leave('a')
    client.leave('a')
    server.server.broadcast('two', { topic: 'a' })
    server.flush()
    assert.deepEqual(received, ['one'])
  })

  it('deliver a broadcast to each of several topics once', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    for (const topic of ['a', 'b']) client.join(topic)
    for (const topic of ['a', 'b', 'c']) server.server.broadcast(`to ${topic}`, { topic })
    server.server.broadcast('to all')
    server.flush()
    assert.deepEqual(received, ['to a', 'to b', 'to all'])
  })

  it('joined and left while pending apply from the admission on', async t => {
    const server = await serve(t, [{ open: client => client.hold() }])
    const { client, received } = await server.connect()
    client.join('a')
    client.join('b')
    client.leave('b')
    server.server.broadcast('too early', { topic: 'a' })
    client.admit()
    for (const topic of ['a', 'b']) server.server.broadcast(`to ${topic}`, { topic })
    server.flush()
    assert.deepEqual(received, ['to a'])
  })

  it('of a client that becomes pending deliver nothing until it is admitted', async t => {
    const server = await serve(t, [
      {
        open: client => client.join('a'),
        message: (payload, client) => (payload === 'hold' ? client.hold() : client.admit()),
      },
    ])
    const peer = await server.connect()
    server.server.broadcast('before', { topic: 'a' })
    await peer.say('hold')
    server.server.broadcast('on hold', { topic: 'a' })
    server.server.broadcast('on hold')
    server.server.broadcast('on hold', { where: () => true })
    await peer.say('admit')
    server.server.broadcast('after', { topic: 'a' })
    server.flush()
    assert.deepEqual(peer.received, ['before', 'after'])
  })
})

/** Filters that record their messages; the second holds and admits on command. */
function holding(when: 'connect' | 'open' | 'message') {
  const seen: [string, Payload][] = []
  const note = (name: string): FilterModule => ({ message: payload => void seen.push([name, payload]) })
  const holder: FilterModule = {
    ...(when === 'connect' && { connect: client => client.hold() }),
    ...(when === 'open' && { open: client => client.hold() }),
    message(payload, client) {
      seen.push(['holder', payload])
      if (when === 'message' && payload === 'hold') client.hold()
      if (payload === 'admit') client.admit()
    },
  }
  return { seen, filters: [note('before'), holder, note('after')] }
}

describe('hold', () => {
  for (const when of ['connect', 'open', 'message'] as const) {
    it(`in ${when}: messages reach the filters up to the holder, and not those after it`, async t => {
      const { seen, filters } = holding(when)
      const server = await serve(t, filters)
      const { say } = await server.connect()
      await say('hold')
      await say('guess')
      assert.deepEqual(seen, [
        ['before', 'hold'],
        ['holder', 'hold'],
        ['before', 'guess'],
        ['holder', 'guess'],
      ])
      assert.equal(server.server.counters.drops['on hold'], 2)
      await say('admit')
      await say('hello')
      assert.deepEqual(seen.slice(4), [
        ['before', 'admit'],
        ['holder', 'admit'],
        ['after', 'admit'],
        ['before', 'hello'],
        ['holder', 'hello'],
        ['after', 'hello'],
      ])
    })

    it(`in ${when}: broadcasts do not arrive and are not queued`, async t => {
      const { filters } = holding(when)
      const server = await serve(t, filters)
      const [held, other] = [await server.connect(), await server.connect()]
      await other.say('admit')
      await held.say('hold')
      server.server.broadcast('to all')
      server.server.broadcast('to some', { where: () => true })
      server.flush()
      assert.deepEqual([held.received, other.received], [[], ['to all', 'to some']])
      await held.say('admit')
      server.server.broadcast('to all 2')
      server.flush()
      assert.deepEqual(held.received, ['to all 2'])
    })
  }

  it('outside of a handler throws', async t => {
    const server = await serve(t, [nothing])
    const { client } = await server.connect()
    assert.throws(() => client.hold(), {
      code: 'ERR_STATE',
      message: `hold() works while a filter handles an event of this client; client ${client.id} has none under way`,
    })
  })

  it('by an async handler applies before its promise settles', async t => {
    const { opened, open } = gate()
    const server = await serve(t, [
      {
        async open(client) {
          client.hold()
          await opened
        },
      },
    ])
    const { received } = await server.connect()
    server.server.broadcast('early')
    open()
    await turn()
    server.flush()
    assert.deepEqual(received, [])
  })

  it('by two filters needs both to admit', async t => {
    const reached: Payload[] = []
    const holder = (word: string): FilterModule => ({
      open: client => client.hold(),
      message: (payload, client) => (payload === word ? client.admit() : undefined),
    })
    const server = await serve(t, [holder('one'), holder('two'), { message: payload => void reached.push(payload) }])
    const { say, received } = await server.connect()
    await say('two')
    assert.deepEqual(reached, [], 'the second holder was not reached')
    await say('one')
    server.server.broadcast('still on hold')
    assert.deepEqual(reached, [])
    await say('two')
    server.server.broadcast('admitted')
    server.flush()
    assert.deepEqual([reached, received], [['two'], ['admitted']])
  })

  it('is not ended by a filter that does not hold', async t => {
    const server = await serve(t, [{ message: (_, client) => client.admit() }, { open: client => client.hold() }])
    const { say, received } = await server.connect()
    await say('x')
    server.server.broadcast('secret')
    server.flush()
    assert.deepEqual(received, [])
  })

  it('twice by one filter counts once', async t => {
    const server = await serve(t, [
      {
        open(client) {
          client.hold()
          client.hold()
        },
        message: (_, client) => client.admit(),
      },
    ])
    const { say, received } = await server.connect()
    await say('x')
    server.server.broadcast('admitted')
    server.flush()
    assert.deepEqual(received, ['admitted'])
  })

  it('may be ended outside of a handler, for example by a timer', async t => {
    const server = await serve(t, [{ open: client => client.hold() }])
    const { client, received } = await server.connect()
    client.admit()
    server.server.broadcast('admitted')
    server.flush()
    assert.deepEqual(received, ['admitted'])
  })

  it('admit() of a client that is not pending does nothing', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    client.admit()
    server.server.broadcast('once')
    server.flush()
    assert.deepEqual(received, ['once'])
  })

  it('in connect that is admitted there has no effect', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.hold()
          client.admit()
        },
      },
    ])
    const { received } = await server.connect()
    server.server.broadcast('welcome')
    server.flush()
    assert.deepEqual(received, ['welcome'])
  })

  it('lets a client that leaves run its disconnect chain', async t => {
    const left: string[] = []
    const server = await serve(t, [
      { open: client => client.hold() },
      { disconnect: client => void left.push(client.id) },
    ])
    const { client, leave } = await server.connect()
    await leave()
    assert.deepEqual(left, [client.id])
  })

  it('remains after the connection: filters after the holder do not get queued messages', async t => {
    const { opened, open } = gate()
    const after: Payload[] = []
    const server = await serve(t, [
      {
        open: client => client.hold(),
        message: async () => {
          await opened
        },
      },
      { message: payload => void after.push(payload) },
    ])
    const peer = await server.connect()
    const said = [peer.say('one'), peer.say('two')]
    const left = peer.leave()
    open()
    await Promise.all([...said, left])
    assert.deepEqual(after, [])
  })
})

describe('sends to a pending client', () => {
  it('of the holder are written immediately', async t => {
    const server = await serve(t, [
      {
        open(client) {
          client.hold()
          client.send('who are you?')
        },
        message: (payload, client) => client.answer(`${payload} is wrong`),
      },
    ])
    const { received, say } = await server.connect()
    await say('guess')
    assert.deepEqual(received, ['who are you?', 'guess is wrong'])
  })

  it('of the holder in connect are written at the opening', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.hold()
          client.send('who are you?')
        },
      },
    ])
    const { received } = await server.connect()
    server.flush()
    assert.deepEqual(received, ['who are you?'])
  })

  it('of other filters wait for its admission, in order', async t => {
    const server = await serve(t, [
      {
        connect: client => client.hold(),
        message(_, client) {
          client.send('welcome')
          client.admit()
          client.send('you are in')
        },
      },
      { open: client => client.send('from open') },
    ])
    const { client, received, say } = await server.connect()
    client.send('from elsewhere')
    server.flush()
    assert.deepEqual(received, [])
    await say('secret')
    server.server.broadcast('news')
    server.flush()
    assert.deepEqual(received, ['welcome', 'from open', 'from elsewhere', 'you are in', 'news'])
  })

  it('wait also while the holder awaits, except its answers', async t => {
    const { opened, open } = gate()
    const server = await serve(t, [
      {
        open: client => client.hold(),
        async message(_, client) {
          await opened
          return client.answer('checked')
        },
      },
    ])
    const { client, received, say } = await server.connect()
    const said = say('secret')
    client.send('for members only')
    open()
    await said
    assert.deepEqual(received, ['checked'])
    client.admit()
    server.flush()
    assert.deepEqual(received, ['checked', 'for members only'])
  })

  it('are bounded by --max-buffered, above which the client is closed as slow without an error for the sender', async t => {
    const server = await serve(t, [{ open: client => client.hold() }], { 'max-buffered': 100 })
    const held = await server.connect()
    held.client.send('x'.repeat(60))
    assert.ok(held.client.buffered >= 60 && held.client.buffered < 100)
    held.client.send('x'.repeat(60))
    assert.deepEqual(held.closed, { code: 1013, reason: 'too slow' })
    assert.deepEqual(held.received, [])
  })

  it('are dropped above --max-buffered with --slow-clients drop', async t => {
    const options = { 'max-buffered': 100, 'slow-clients': 'drop' }
    const server = await serve(t, [{ open: client => client.hold() }], options)
    const held = await server.connect()
    for (const letter of 'abc') held.client.send(letter.repeat(60))
    assert.equal(held.closed, undefined)
    assert.equal(server.server.counters.drops['slow client'], 2)
  })

  it('are discarded when it leaves', async t => {
    const server = await serve(t, [{ open: client => client.hold() }])
    const { client, received, leave } = await server.connect()
    client.send('secret')
    await leave()
    assert.equal(client.buffered, 0)
    client.admit()
    server.flush()
    assert.deepEqual(received, [])
  })
})

describe('the hold deadline', () => {
  const holder: FilterModule = {
    message: (payload, client) => (payload === 'admit' ? client.admit() : client.hold()),
  }

  it('closes a client with 1008 that is not admitted in time', async t => {
    const server = await serve(t, [{ open: client => client.hold() }], { holdTimeout: 0.02 })
    const peer = await server.connect()
    await until(() => peer.closed !== undefined, 'the close')
    assert.deepEqual(peer.closed, { code: 1008, reason: 'not admitted in time' })
  })

  it('starts at the opening for a hold in connect', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { opened, open } = gate()
    const server = await serve(
      t,
      [
        {
          async connect(client) {
            client.hold()
            await opened
          },
        },
      ],
      { holdTimeout: 1, filterTimeout: 0 },
    )
    const connecting = server.connect()
    t.mock.timers.tick(5000)
    open()
    const peer = await connecting
    t.mock.timers.tick(999)
    assert.equal(codeOf(peer), undefined)
    t.mock.timers.tick(1)
    assert.equal(codeOf(peer), 1008)
  })

  it('ends with the admission, and starts again with another hold', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const server = await serve(t, [holder], { holdTimeout: 1, filterTimeout: 0 })
    const peer = await server.connect()
    await peer.say('hold')
    t.mock.timers.tick(600)
    await peer.say('admit')
    t.mock.timers.tick(600)
    assert.equal(codeOf(peer), undefined)
    await peer.say('hold')
    t.mock.timers.tick(600)
    await peer.say('hold')
    t.mock.timers.tick(399)
    assert.equal(codeOf(peer), undefined)
    t.mock.timers.tick(1)
    assert.equal(codeOf(peer), 1008, 'holding again has not extended it')
  })

  it('ends with the admission also after two holds of a filter', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const server = await serve(t, [holder], { holdTimeout: 1, filterTimeout: 0 })
    const peer = await server.connect()
    for (const payload of ['hold', 'hold', 'admit']) await peer.say(payload)
    t.mock.timers.tick(5000)
    assert.equal(codeOf(peer), undefined)
  })

  it('0 disables it', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const server = await serve(t, [holder], { holdTimeout: 0, filterTimeout: 0 })
    const peer = await server.connect()
    await peer.say('hold')
    t.mock.timers.tick(2 ** 31 - 1)
    assert.equal(codeOf(peer), undefined)
  })
})

describe('answer and drop', () => {
  it('answer sends and ends the chain', async t => {
    const server = await serve(t, [
      { message: (payload, client) => client.answer(`no ${payload}`) },
      { message: () => assert.fail('reached') },
    ])
    const { received, say } = await server.connect()
    await say('x')
    assert.deepEqual([received, server.server.counters.errors], [['no x'], 0])
  })

  it('drop ends the chain, is counted by reason, and logged at debug level', async t => {
    const server = await serve(t, [
      { message: (payload, client) => (payload === '' ? client.drop() : client.drop('too long')) },
      { message: () => assert.fail('reached') },
    ])
    const { client, say } = await server.connect()
    for (const payload of ['', 'x', 'y']) await say(payload)
    assert.deepEqual({ ...server.server.counters.drops }, { filter: 1, 'too long': 2 })
    const lines = server.logged.filter(line => line.msg === 'message dropped')
    assert.deepEqual(
      lines.map(line => [line.level, line.client, line.reason]),
      [
        [20, client.id, 'filter'],
        [20, client.id, 'too long'],
        [20, client.id, 'too long'],
      ],
    )
  })

  it('reasons made of user data do not grow the counters without limit', async t => {
    const server = await serve(t, [{ message: (payload, client) => client.drop(String(payload)) }])
    const { say } = await server.connect()
    for (let i = 0; i < 150; i++) await say(`reason ${i}`)
    const { drops } = server.server.counters
    assert.equal(Object.keys(drops).length, 101)
    assert.equal(drops.other, 50)
  })

  it('a reason may have the name of a property of Object.prototype', async t => {
    const server = await serve(t, [{ message: (payload, client) => client.drop(String(payload)) }])
    const { say } = await server.connect()
    for (const reason of ['constructor', '__proto__', 'toString']) await say(reason)
    assert.deepEqual(Object.entries(server.server.counters.drops), [
      ['constructor', 1],
      ['__proto__', 1],
      ['toString', 1],
    ])
  })
})

describe('refuse', () => {
  it('answers the handshake with a status and a reason', async t => {
    const server = await serve(t, [{ connect: client => client.refuse(401, 'who are you?') }])
    await assert.rejects(server.connect(), (error: Error) => {
      assert.ok(error instanceof Refused)
      assert.deepEqual([error.status, error.message], [401, 'refused with 401: who are you?'])
      return true
    })
    assert.equal(server.server.clients.size, 0)
  })

  it('applies even if the handler does not return it', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.refuse(429)
        },
      },
    ])
    await assert.rejects(server.connect(), { status: 429 })
  })

  it('ends the connect chain', async t => {
    const server = await serve(t, [
      { connect: async client => client.refuse(401) },
      { connect: () => assert.fail('reached') },
    ])
    await assert.rejects(server.connect(), { status: 401 })
    assert.equal(server.server.counters.errors, 0)
  })

  it('a disconnect() in connect refuses with 403', async t => {
    const server = await serve(t, [{ connect: client => client.disconnect(1008, 'go away') }])
    await assert.rejects(server.connect(), { status: 403 })
  })

  it('after connect throws', async t => {
    const server = await serve(t, [nothing])
    const { client } = await server.connect()
    assert.throws(() => client.refuse(401), {
      code: 'ERR_STATE',
      message: 'refuse() works in connect handlers only; later use disconnect()',
    })
  })

  for (const status of [0, 101, 200, 299, 600, 401.5, Number.NaN]) {
    it(`${status} is not a valid status`, async t => {
      const server = await serve(t, [{ connect: client => client.refuse(status) }])
      await assert.rejects(server.connect(), { status: 500 })
      assert.deepEqual(errorsOf(server), [`refuse() takes an HTTP status from 300 to 599, received ${status}`])
    })
  }

  it('neither open nor disconnect run for a refused client', async t => {
    const server = await serve(t, [
      { connect: client => client.refuse(401) },
      { open: () => assert.fail('opened'), disconnect: () => assert.fail('disconnected') },
    ])
    await assert.rejects(server.connect(), { status: 401 })
    const { opened, closed } = server.server.counters
    assert.deepEqual([opened, closed], [0, 0])
  })
})

describe('disconnect', () => {
  for (const [how, message] of [
    ['returned', (_: Payload, client: Client) => client.disconnect(1008)],
    ['not returned', (_: Payload, client: Client) => void client.disconnect(1008)],
  ] as const) {
    it(`ends the chain, ${how}: later filters do not get the message`, async t => {
      const server = await serve(t, [{ message }, broadcast])
      const [ann, bob] = [await server.connect(), await server.connect()]
      await ann.say('bad')
      assert.deepEqual([ann.closed?.code, bob.received], [1008, []])
    })
  }

  it('closes after all earlier sends, by default with 1000', async t => {
    const server = await serve(t, [nothing])
    const [one, two] = [await server.connect(), await server.connect()]
    one.client.send('last')
    server.server.broadcast('words')
    one.client.disconnect()
    two.client.disconnect(4000, 'enough')
    assert.deepEqual([one.received, one.closed], [['last', 'words'], { code: 1000, reason: '' }])
    assert.deepEqual([two.received, two.closed], [['words'], { code: 4000, reason: 'enough' }])
    assert.deepEqual({ ...server.server.counters.closes }, { 1000: 1, 4000: 1 })
  })

  it('has the alias close()', async t => {
    const server = await serve(t, [nothing])
    const peer = await server.connect()
    peer.client.close()
    assert.deepEqual(peer.closed, { code: 1000, reason: '' })
  })

  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1000.5, Number.NaN]) {
    it(`${code} is not a valid code`, async t => {
      const server = await serve(t, [nothing])
      const peer = await server.connect()
      assert.throws(() => peer.client.disconnect(code), {
        code: 'ERR_CLOSE_CODE',
        message: `a close code is 1000 to 1014 (not 1004 to 1006) or 3000 to 4999, received ${code}`,
      })
      assert.equal(peer.closed, undefined)
    })
  }

  it('cuts its reason to 123 bytes at the end of a character', async t => {
    const server = await serve(t, [nothing])
    const peer = await server.connect()
    peer.client.disconnect(1008, `x${'ü'.repeat(100)}`)
    assert.deepEqual(peer.closed, { code: 1008, reason: `x${'ü'.repeat(61)}` })
  })

  it('again has no effect: the first code and reason apply', async t => {
    const codes: number[] = []
    const server = await serve(t, [{ disconnect: (_, { code }) => void codes.push(code) }])
    const peer = await server.connect()
    peer.client.disconnect(1008)
    peer.client.disconnect(1001)
    assert.deepEqual([peer.closed?.code, codes], [1008, [1008]])
  })

  it('discards the queued messages, and counts them', async t => {
    const { opened, open } = gate()
    const seen: Payload[] = []
    const server = await serve(t, [
      {
        async message(payload) {
          seen.push(payload)
          await opened
        },
      },
    ])
    const { client, say } = await server.connect()
    const said = ['one', 'two', 'three'].map(payload => say(payload))
    client.disconnect()
    open()
    await Promise.all(said)
    await say('four')
    assert.deepEqual([seen, server.server.counters.drops['closing client']], [['one'], 3])
  })

  it('runs the disconnect chain once, after the running handlers, with code and reason', async t => {
    const { opened, open } = gate()
    const order: unknown[] = []
    const server = await serve(t, [
      {
        async message() {
          await opened
          order.push('message done')
        },
        disconnect: (client, closed) => void order.push([client.id, closed]),
      },
    ])
    const { client, say } = await server.connect()
    const said = say('x')
    client.disconnect(4001, 'bye')
    await turn()
    assert.deepEqual(order, [])
    open()
    await said
    assert.deepEqual(order, ['message done', [client.id, { code: 4001, reason: 'bye', clean: true }]])
  })

  it('reports the code and reason of the peer when the peer leaves', async t => {
    const closes: unknown[] = []
    const server = await serve(t, [{ disconnect: (_, closed) => void closes.push(closed) }])
    const peer = await server.connect()
    await peer.leave(4002, 'done')
    assert.deepEqual(closes, [{ code: 4002, reason: 'done', clean: true }])
    assert.equal(peer.closed, undefined, 'the server has not closed it')
  })

  it('after the peer has left has no effect', async t => {
    const closes: number[] = []
    const server = await serve(t, [{ disconnect: (_, { code }) => void closes.push(code) }])
    const peer = await server.connect()
    await peer.leave(4000)
    peer.client.disconnect(1008)
    assert.deepEqual([codeOf(peer), closes], [undefined, [4000]])
  })

  it('of a client whose last messages exceed its limit closes with 1013, once', async t => {
    const server = await serve(t, [nothing], { 'max-buffered': 1000 })
    const closes: [number, string][] = []
    // Accepts no writes.
    const socket = new Duplex({ read() {}, write() {} })
    const { client, closed } = server.server.attach({
      name: 'stuck',
      remote: '',
      socket,
      frame: payload => Buffer.from(payload),
      pause() {},
      resume() {},
      close: (code, reason) => void closes.push([code, reason]),
      destroy: () => closed(1006, '', false),
    })
    await until(() => server.server.clients.size === 1)
    const say = () => {
      for (let i = 0; i < 12; i++) client.send('x'.repeat(400))
    }
    say()
    server.flush()
    say()
    client.disconnect(4000, 'bye')
    assert.deepEqual(closes, [[1013, 'too slow']])
  })

  it('in open closes after the earlier sends', async t => {
    const server = await serve(t, [
      {
        open(client) {
          client.send('full')
          client.disconnect(1013, 'try later')
        },
      },
    ])
    const { received, closed } = await server.connect()
    assert.deepEqual([received, closed], [['full'], { code: 1013, reason: 'try later' }])
  })

  it('a failing open filter closes with 1011', async t => {
    for (const open of [
      () => {
        throw new Error('no')
      },
      async () => {
        throw new Error('no')
      },
    ]) {
      const server = await serve(t, [{ open }])
      const peer = await server.connect()
      await until(() => peer.closed !== undefined, 'the close')
      assert.deepEqual(peer.closed, { code: 1011, reason: 'a filter failed' })
    }
  })
})

describe('onAdmitted', () => {
  it('calls each handler once, when the client is open and all filters have admitted it', async t => {
    const calls: string[] = []
    const guard: FilterModule = {
      stage: 'guard',
      connect: client => client.hold(),
      message: (_, client) => client.admit(),
    }
    const late: FilterModule = {
      connect: client => client.onAdmitted(() => calls.push('connect')),
      open(client) {
        client.onAdmitted(() => calls.push('open'))
        client.hold()
      },
      message(_, client) {
        calls.push('message')
        client.admit()
        client.onAdmitted(() => calls.push('at once'))
      },
    }
    const server = await serve(t, [guard, late])
    const { say } = await server.connect()
    assert.deepEqual(calls, [])
    await say('x')
    assert.deepEqual(calls, ['message', 'connect', 'open', 'at once'])
  })

  it('in connect of a client that is not held waits for the opening, and an error is contained', async t => {
    const calls: string[] = []
    const fail: FilterModule = {
      connect: client =>
        client.onAdmitted(() => {
          throw new Error('oops')
        }),
      open: () => void calls.push('open'),
    }
    const server = await serve(t, [fail, { connect: client => client.onAdmitted(() => calls.push('admitted')) }])
    await server.connect()
    assert.deepEqual(calls, ['open', 'admitted'])
    assert.deepEqual(errorsOf(server), ['oops'])
  })

  it('does not call a handler of a client that is closed in open', async t => {
    const calls: string[] = []
    const close: FilterModule = {
      connect: client => client.onAdmitted(() => calls.push('admitted')),
      open: client => client.disconnect(),
    }
    const server = await serve(t, [close])
    await server.connect()
    assert.deepEqual(calls, [])
  })
})

describe('onGone', () => {
  it('calls each handler once when the client has gone, also behind one that throws, and at once afterwards', async t => {
    const server = await serve(t, [nothing])
    const { client, leave } = await server.connect()
    const calls: string[] = []
    client.onGone(() => void calls.push('first'))
    client.onGone(() => {
      throw new Error('oops')
    })
    client.onGone(() => void calls.push('last'))
    assert.equal(calls.length, 0)
    await leave()
    assert.deepEqual(calls, ['first', 'last'])
    client.onGone(() => void calls.push('late'))
    assert.deepEqual(calls, ['first', 'last', 'late'])
    assert.deepEqual(errorsOf(server), ['oops'])
  })

  it('takes a function', async t => {
    const { client } = await (await serve(t, [nothing])).connect()
    assert.throws(
      () => client.onGone(5 as unknown as () => void),
      /^FwsError: onGone\(\) takes a function, received 5$/,
    )
  })
})

describe('signal', () => {
  it('is aborted when the client has left, and not before', async t => {
    const server = await serve(t, [nothing])
    const { client, leave } = await server.connect()
    const { signal } = client
    assert.equal(signal.aborted, false)
    assert.equal(client.signal, signal)
    await leave()
    assert.equal(signal.aborted, true)
  })

  it('is already aborted if it is read later', async t => {
    const aborted: boolean[] = []
    const server = await serve(t, [{ disconnect: client => void aborted.push(client.signal.aborted) }])
    const { client, leave } = await server.connect()
    await leave()
    assert.deepEqual([client.signal.aborted, aborted], [true, [true]])
  })

  it('ends running work when the server disconnects', async t => {
    const ended: string[] = []
    const server = await serve(t, [
      {
        message: (_, client) =>
          new Promise(resolve =>
            client.signal.addEventListener('abort', () => {
              ended.push(client.id)
              resolve()
            }),
          ),
      },
    ])
    const { client, say } = await server.connect()
    const said = say('x')
    client.disconnect()
    await said
    assert.deepEqual(ended, [client.id])
  })
})

describe('codec', () => {
  const codec = (name: string) => ({ name, encode: (payload: Payload) => `${name}(${payload})` })
  const [one, two] = [codec('one'), codec('two')]

  it('set in connect encodes all later messages, also those of connect', async t => {
    const server = await serve(t, [
      {
        connect(client) {
          client.send('plain')
          client.codec = one
          client.send('connect')
        },
        open: client => client.send('open'),
      },
    ])
    const { received } = await server.connect()
    server.server.broadcast('all')
    server.flush()
    assert.deepEqual(received, ['plain', 'one(connect)', 'one(open)', 'one(all)'])
  })

  it('changed later: earlier messages keep the old form, in order', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    client.join('a')
    client.codec = one
    client.send('1')
    server.server.broadcast('2')
    server.server.broadcast('3', { topic: 'a' })
    client.codec = two
    server.server.broadcast('4', { topic: 'a' })
    client.send('5')
    server.flush()
    assert.deepEqual(received, ['one(1)', 'one(2)', 'one(3)', 'two(4)', 'two(5)'])
  })

  it('changed while pending: queued messages keep the form in which they were sent', async t => {
    const server = await serve(t, [{ open: client => client.hold() }])
    const { client, received } = await server.connect()
    client.codec = one
    client.send('1')
    client.codec = two
    client.send('2')
    client.admit()
    server.flush()
    assert.deepEqual(received, ['one(1)', 'two(2)'])
  })

  it('is separate for each client, and keeps payloads unchanged by default', async t => {
    const server = await serve(t, [nothing])
    const peers = [await server.connect(), await server.connect(), await server.connect()]
    peers[0]!.client.codec = one
    peers[1]!.client.codec = two
    assert.equal(peers[2]!.client.codec.name, 'plain')
    server.server.broadcast('x')
    server.server.broadcast('y', { where: () => true })
    server.flush()
    assert.deepEqual(
      peers.map(peer => peer.received),
      [
        ['one(x)', 'one(y)'],
        ['two(x)', 'two(y)'],
        ['x', 'y'],
      ],
    )
  })

  it('may turn text into binary, and skip payloads', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    client.codec = {
      name: 'upper',
      encode: payload => (payload === 'skip' ? undefined : Buffer.from(String(payload).toUpperCase())),
    }
    for (const payload of ['a', 'skip', 'b']) client.send(payload)
    server.flush()
    assert.deepEqual(received, [Buffer.from('A'), Buffer.from('B')])
    assert.equal(server.server.counters.errors, 0)
  })

  it('that fails for a direct send is reported by name, and sends nothing', async t => {
    const server = await serve(t, [nothing])
    const { client, received } = await server.connect()
    client.codec = {
      name: 'broken',
      encode: () => {
        throw new Error('cannot encode')
      },
    }
    client.send('x')
    server.flush()
    assert.deepEqual([received, errorsOf(server)], [[], ['cannot encode']])
    assert.equal(server.logged.find(line => line.level === 50)!.filter, 'broken')
  })
})

describe('message views', () => {
  it('set by one filter on the third argument are typed for later filters', async t => {
    const seen: (number | undefined)[] = []
    const server = await serve(t, [
      { message: (_payload, _client, message) => void seen.push(message.words?.length) },
      {
        message(payload, _client, message) {
          message.words = String(payload).split(' ')
        },
      },
      { message: (_payload, _client, message) => void seen.push(message.words?.length) },
    ])
    const { say } = await server.connect()
    await say('two words')
    await say('these are three')
    assert.deepEqual(seen, [undefined, 2, undefined, 3])
  })

  it('contain the message as received, whatever the payload is now', async t => {
    const seen: unknown[] = []
    const before = Date.now()
    const server = await serve(t, [
      { message: payload => `${payload}!` },
      {
        message(payload, _client, message) {
          seen.push(payload, message.payload)
          assert.ok(message.at >= before && message.at <= Date.now())
        },
      },
    ])
    const { say } = await server.connect()
    await say('hi')
    assert.deepEqual(seen, ['hi!', 'hi'])
  })
})

describe('state', () => {
  it('is kept from connect to disconnect, separately for each client', async t => {
    const seen: (string | undefined)[] = []
    const see = ({ state }: Client) => void seen.push(state.nickname)
    const server = await serve(t, [
      {
        connect(client) {
          see(client)
          client.state.nickname = client.handshake!.url.searchParams.get('name')!
        },
        open: see,
        message: (_, client) => see(client),
        disconnect: see,
      },
    ])
    const [ann, bob] = [await server.connect({ url: '/?name=ann' }), await server.connect({ url: '/?name=bob' })]
    await ann.say('x')
    await bob.leave()
    assert.deepEqual(seen, [undefined, 'ann', undefined, 'bob', 'ann', 'bob'])
    assert.notEqual(ann.client.state, bob.client.state)
  })
})

describe('client', () => {
  it('has a unique id, an address, a transport, a handshake and a server', async t => {
    const server = await serve(t, [nothing])
    const [one, two] = [await server.connect({ remote: '10.0.0.1', url: '/room' }), await server.connect()]
    assert.notEqual(one.client.id, two.client.id)
    assert.deepEqual(
      [one.client.remote, one.client.transport, one.client.handshake?.url.pathname, one.client.server],
      ['10.0.0.1', 'websocket', '/room', server.server],
    )
  })

  it('is in server.clients from open until it has left', async t => {
    const there: [string, boolean][] = []
    const note = (chain: string) => (client: Client) =>
      void there.push([chain, client.server.clients.get(client.id) === client])
    const server = await serve(t, [{ connect: note('connect'), open: note('open'), disconnect: note('disconnect') }])
    const { leave } = await server.connect()
    await leave()
    assert.deepEqual(there, [
      ['connect', false],
      ['open', true],
      ['disconnect', false],
    ])
  })
})
