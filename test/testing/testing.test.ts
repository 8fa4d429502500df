import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Client, Message } from '../../src/contract/client.ts'
import { DROP } from '../../src/contract/drop.ts'
import type { FilterModule, Handlers } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Handshake } from '../../src/contract/peer.ts'
import { fakeClient, Refused, setUp, testServer } from '../../src/testing/index.ts'
import { startTestServer as serve } from '../support/test-server.ts'

describe('testServer', () => {
  it('accepts names, modules, and options of the core and of its filters', async t => {
    const shout: FilterModule = { message: payload => String(payload).toUpperCase() }
    const server = await serve(t, ['rate-limit', shout, 'echo'], { 'rate-limit-messages': 1, maxClients: 5 })
    const { received, say } = await server.connect()
    await say('one')
    await say('two')
    assert.deepEqual(received, [
      'ONE',
      'Warning: more than 1 messages or 1048576 bytes a second; slow down or be closed',
    ])
  })

  it('refuses the same mistakes as the command line', async () => {
    await assert.rejects(testServer(['ehco']), { code: 'ERR_MODULE' })
    await assert.rejects(testServer(['echo'], { 'max-payloat': 1 }), {
      message: 'option max-payloat is not an option; did you mean "max-payload"?',
    })
    await assert.rejects(testServer(['echo'], { 'max-payload': 'big' }), {
      message: 'option max-payload takes a whole number from 1 to 536870888, received "big"',
    })
  })

  it('is ready, and has the connected clients', async t => {
    const server = await serve(t, ['echo'])
    assert.equal(server.server.ready, true)
    const { client, leave } = await server.connect()
    assert.deepEqual([...server.server.clients.keys()], [client.id])
    await leave()
    assert.equal(server.server.clients.size, 0)
  })

  it('say settles when an async chain has handled the message and all messages have arrived', async t => {
    const server = await serve(t, [
      {
        async message(payload, client) {
          await turn()
          client.send(`one ${payload}`)
          await turn()
          client.server.broadcast(`two ${payload}`)
        },
      },
    ])
    const [one, two] = [await server.connect(), await server.connect()]
    await one.say('x')
    assert.deepEqual([one.received, two.received], [['one x', 'two x'], ['two x']])
  })

  it('leave settles when the disconnect chain has run, an async one too', async t => {
    const left: string[] = []
    const server = await serve(t, [
      {
        async disconnect({ id }) {
          await turn()
          left.push(id)
        },
      },
    ])
    const { client, leave } = await server.connect()
    await leave()
    assert.deepEqual(left, [client.id])
  })

  it('leave passes code and reason. Default: 1000 and none', async t => {
    const closes: unknown[] = []
    const server = await serve(t, [{ disconnect: (_, closed) => void closes.push(closed) }])
    await (await server.connect()).leave()
    await (await server.connect()).leave(4000, 'done')
    assert.deepEqual(closes, [
      { code: 1000, reason: '', clean: true },
      { code: 4000, reason: 'done', clean: true },
    ])
  })

  it('closed has code and reason of the server; undefined while the client is open', async t => {
    const server = await serve(t, [{ message: (payload, client) => client.disconnect(1008, String(payload)) }])
    const peer = await server.connect()
    const before = peer.closed
    assert.equal(before, undefined)
    await peer.say('enough')
    assert.deepEqual(peer.closed, { code: 1008, reason: 'enough' })
  })

  it('flush delivers messages that were sent outside of a chain', async t => {
    const server = await serve(t, ['echo'])
    const { client, received } = await server.connect()
    client.send('a')
    server.server.broadcast('b')
    assert.deepEqual(received, [])
    server.flush()
    assert.deepEqual(received, ['a', 'b'])
  })

  it('distinguishes text and binary, empty and large payloads', async t => {
    const server = await serve(t, ['echo'])
    const { received, say } = await server.connect()
    const payloads: Payload[] = ['', Buffer.alloc(0), 'grüß', Buffer.from([0, 255]), 'x'.repeat(100_000)]
    for (const payload of payloads) await say(payload)
    assert.deepEqual(received, payloads)
  })

  it('passes the handshake of a caller to the connect chain', async t => {
    const seen: unknown[] = []
    const server = await serve(t, [
      {
        connect({ remote, handshake }) {
          const { url, headers, protocols } = handshake!
          seen.push(remote, url.pathname, url.searchParams.get('a'), headers['x-name'], protocols)
        },
      },
    ])
    await server.connect({
      url: '/room?a=1',
      headers: { 'x-name': 'ann' },
      protocols: ['one', 'two'],
      remote: '10.0.0.9',
    })
    await server.connect()
    assert.deepEqual(seen, ['10.0.0.9', '/room', '1', 'ann', ['one', 'two'], '127.0.0.1', '/', null, undefined, []])
  })

  it('names headers in lower case, as Node does', async t => {
    const seen: unknown[] = []
    const server = await serve(t, [{ connect: ({ handshake }) => void seen.push(handshake!.headers.authorization) }])
    await server.connect({ headers: { Authorization: 'Bearer x' } })
    assert.deepEqual(seen, ['Bearer x'])
  })

  it('connect rejects with Refused when a filter refuses, drops, fails or returns a wrong value', async t => {
    const cases: readonly (readonly [FilterModule['connect'] & {}, number, string])[] = [
      [(client: Client) => client.refuse(401, 'who?'), 401, 'refused with 401: who?'],
      [(client: Client) => client.refuse(429), 429, 'refused with 429'],
      [() => DROP, 403, 'refused with 403'],
      [() => Promise.reject(new Error('no')), 500, 'refused with 500'],
      [() => 'nonsense' as never, 500, 'refused with 500'],
    ]
    for (const [connect, status, message] of cases) {
      const server = await serve(t, [{ connect }])
      await assert.rejects(server.connect(), (error: Error) => {
        assert.ok(error instanceof Refused)
        assert.deepEqual([error.status, error.message], [status, message])
        return true
      })
    }
  })

  it('request admits a plain request, until end', async t => {
    const seen: unknown[] = []
    const guard: FilterModule = {
      connect: client => {
        seen.push(client.handshake!.kind, client.handshake!.url.href)
        if (client.handshake!.headers.key !== 'sesame')
          return client.refuse(401, 'no key', { 'WWW-Authenticate': 'Key' })
      },
      open: () => assert.fail('not opened'),
    }
    const server = await serve(t, [guard])
    await assert.rejects(server.request(), {
      message: 'refused with 401: no key',
      status: 401,
      reason: 'no key',
      headers: { 'WWW-Authenticate': 'Key' },
    })
    const { client, end } = await server.request({ url: '/a', headers: { Key: 'sesame' } })
    assert.throws(() => client.send('x'), { code: 'ERR_STATE' })
    assert.deepEqual([client.signal.aborted, server.server.clients.size], [false, 0])
    end()
    assert.deepEqual([client.signal.aborted, seen], [true, ['request', 'http://test/', 'request', 'http://test/a']])
  })

  it('connect opens the client of a stream too', async t => {
    const server = await serve(t, [{ open: client => client.send('hello') }])
    const { client, received } = await server.connect({ kind: 'stream', url: '/s' })
    server.flush()
    assert.deepEqual(
      [client.handshake!.kind, client.handshake!.url.href, client.transport, received],
      ['stream', 'http://test/s', 'stream', ['hello']],
    )
  })

  it('publish runs the consumer chain, and delivers its messages', async t => {
    const server = await serve(t, [
      {
        async consumer({ channel, payload }) {
          await turn()
          return `${channel}: ${payload}`
        },
      },
      'broadcast-pubsub',
    ])
    const { received } = await server.connect()
    await server.publish('news', 'hello')
    assert.deepEqual(received, ['news: hello'])
  })

  it('events that a filter publishes on a channel of the storage run through the consumer chain', async t => {
    const server = await serve(t, [
      { message: (payload, client) => client.server.publish('global', payload) },
      'broadcast-pubsub',
    ])
    const [one, two] = [await server.connect(), await server.connect()]
    await one.say('news')
    assert.deepEqual([one.received, two.received], [['news'], ['news']])
  })

  it('collects the log as objects and standard output as a string', async t => {
    const server = await serve(t, [
      {
        setup: ({ log, stdout }) => ({
          message(payload) {
            log.warn({ payload }, 'seen')
            stdout.write(`${payload}\n`)
          },
        }),
      },
    ])
    const { say } = await server.connect()
    await say('a')
    await say('b')
    const lines = server.logged.filter(({ msg }) => msg === 'seen')
    assert.deepEqual(
      lines.map(({ level, payload }) => [level, payload]),
      [
        [40, 'a'],
        [40, 'b'],
      ],
    )
    assert.equal(server.printed, 'a\nb\n')
  })

  it('counts the errors of filters, and continues', async t => {
    const server = await serve(t, [{ message: payload => (payload === 'bad' ? (7 as never) : undefined) }, 'echo'])
    const { received, say } = await server.connect()
    for (const payload of ['bad', 'good']) await say(payload)
    assert.deepEqual([received, server.server.counters.errors], [['good'], 1])
  })

  it('stop disconnects all clients, waits for their chains, and stops the filters in reverse', async () => {
    const order: string[] = []
    const noting = (name: string): FilterModule => ({
      start: () => void order.push(`start ${name}`),
      async disconnect(_, { code, clean }) {
        await turn()
        order.push(`disconnect ${name} ${code} ${clean}`)
      },
      stop: () => void order.push(`stop ${name}`),
    })
    const server = await testServer([noting('a'), noting('b')])
    await server.connect()
    await server.stop()
    assert.deepEqual(order, [
      'start a',
      'start b',
      'disconnect a 1006 false',
      'disconnect b 1006 false',
      'stop b',
      'stop a',
    ])
  })

  it('undoes a failed start as a server does', async () => {
    const order: string[] = []
    await assert.rejects(
      testServer([
        { start: () => void order.push('start'), stop: () => void order.push('stop') },
        {
          start() {
            throw new Error('no licence')
          },
        },
      ]),
      /no licence/,
    )
    assert.deepEqual(order, ['start', 'stop'])
  })

  it('two of them never see each other', async t => {
    const servers = [await serve(t, ['broadcast']), await serve(t, ['broadcast'])]
    const [[a1, a2], [b1]] = await Promise.all(
      servers.map(async server => [await server.connect(), await server.connect()] as const),
    ).then(pairs => pairs as [(typeof pairs)[0], (typeof pairs)[0]])
    await a1.say('in a')
    assert.deepEqual([a2.received, b1.received], [['in a'], []])
  })
})

describe('setUp', () => {
  const words: FilterModule = {
    options: { 'inline-max': { type: 'number', default: 2, describe: 'words' } },
    setup: ({ options }) => ({
      message: (payload, client) =>
        String(payload).split(' ').length > Number(options['inline-max']) ? client.drop('too long') : undefined,
    }),
  }
  /** Calls the only handler of a kind. */
  const call = ({ message }: Handlers, payload: Payload, client: Client) => {
    const [handler, ...more] = [message ?? []].flat()
    assert.deepEqual(more, [])
    return handler!(payload, client, { payload, at: 0 } as Message)
  }

  it('returns the handlers of one filter, set up with its defaults', async () => {
    const handlers = await setUp(words as FilterModule<never>)
    const client = fakeClient()
    assert.equal(call(handlers, 'two words', client), undefined)
    assert.equal(call(handlers, 'these are three', client), DROP)
    assert.deepEqual(client.drops, ['too long'])
  })

  it('takes options', async () => {
    const handlers = await setUp(words as FilterModule<never>, { 'inline-max': 3 })
    assert.equal(call(handlers, 'these are three', fakeClient()), undefined)
  })

  it('refuses wrong options', async () => {
    await assert.rejects(setUp(words as FilterModule<never>, { 'inline-max': 'x' }), {
      message: 'option inline-max takes a number, received "x"',
    })
    await assert.rejects(setUp(words as FilterModule<never>, { 'inline-min': 1 }), {
      message: 'option inline-min is not an option; did you mean "inline-max"?',
    })
  })

  it('returns exported and returned handlers, including start and stop', async () => {
    const order: string[] = []
    const handlers = await setUp({
      message: () => void order.push('exported'),
      setup: () => ({ message: () => void order.push('returned'), start: () => void order.push('start') }),
      stop: () => void order.push('stop'),
    })
    const client = fakeClient()
    handlers.message?.('x', client, { payload: 'x', at: 0 })
    await handlers.start?.(client.server)
    await handlers.stop?.()
    assert.deepEqual(order, ['exported', 'returned', 'start', 'stop'])
  })

  it('gives the filter a storage with all capabilities', async () => {
    const handlers = await setUp({
      needs: ['sets', 'values', 'bus', 'streams'],
      setup: ({ storage }) => ({
        async message(payload, client) {
          client.send(`${await storage.values.increment('count')} ${payload}`)
        },
      }),
    })
    const client = fakeClient()
    for (const payload of ['a', 'b']) await call(handlers, payload, client)
    assert.deepEqual(client.sent, ['1 a', '2 b'])
  })

  it('a failing setup rejects with the reason', async () => {
    await assert.rejects(
      setUp({
        setup() {
          throw new Error('no licence')
        },
      }),
      /failed: no licence$/,
    )
  })
})

describe('fakeClient', () => {
  it('records sent messages', () => {
    const client = fakeClient()
    client.send('a')
    assert.equal(client.answer(Buffer.from('b')), DROP)
    assert.deepEqual(client.sent, ['a', Buffer.from('b')])
  })

  it('records drops with their reasons', () => {
    const client = fakeClient()
    assert.equal(client.drop(), DROP)
    assert.equal(client.drop('too long'), DROP)
    assert.deepEqual(client.drops, [undefined, 'too long'])
  })

  it('records a refusal and a disconnect', () => {
    const client = fakeClient()
    assert.deepEqual([client.refused, client.disconnected], [undefined, undefined])
    assert.equal(client.refuse(401, 'who?'), DROP)
    client.disconnect(4000, 'bye')
    assert.deepEqual(
      [client.refused, client.disconnected],
      [
        { status: 401, reason: 'who?' },
        { code: 4000, reason: 'bye' },
      ],
    )
  })

  it('closes with 1000 by default', () => {
    for (const end of [(client: Client) => client.disconnect(), (client: Client) => client.close()]) {
      const client = fakeClient()
      end(client)
      assert.deepEqual(client.disconnected, { code: 1000, reason: '' })
    }
  })

  it('is on hold between hold and admit', () => {
    const client = fakeClient()
    client.hold()
    assert.equal(client.held, true)
    client.admit()
    assert.equal(client.held, false)
  })

  it('keeps topics and state', () => {
    const client = fakeClient()
    client.join('a')
    client.join('b')
    client.leave('a')
    client.state.nickname = 'ann'
    assert.deepEqual([client.topics, client.state], [new Set(['b']), { nickname: 'ann' }])
  })

  it('records broadcasts and publishes of its server', () => {
    const client = fakeClient()
    client.server.broadcast('a')
    client.server.broadcast('b', { topic: 't', except: client })
    client.server.publish('news', 'c')
    assert.deepEqual(client.broadcasts, [
      { payload: 'a', to: undefined },
      { payload: 'b', to: { topic: 't', except: client } },
    ])
    assert.deepEqual(client.published, [{ channel: 'news', payload: 'c' }])
  })

  it('is the only client of its server', () => {
    const client = fakeClient({ id: 'ann' })
    assert.equal(client.server.clients.get('ann'), client)
    assert.equal(client.server.ready, true)
  })

  it('has the id, address and handshake of the test', () => {
    const handshake: Handshake = {
      kind: 'websocket',
      request: undefined,
      url: new URL('ws://test/room'),
      headers: {},
      protocols: [],
      protocol: undefined,
    }
    const client = fakeClient({ id: 'ann', remote: '10.0.0.1', handshake })
    assert.deepEqual(
      [client.id, client.remote, client.handshake, client.transport],
      ['ann', '10.0.0.1', handshake, 'websocket'],
    )
    const { id, remote } = fakeClient()
    assert.deepEqual([id, remote], ['test', '127.0.0.1'])
  })

  it('two of them share nothing', () => {
    const [one, two] = [fakeClient(), fakeClient()]
    one.send('x')
    one.join('a')
    one.server.broadcast('y')
    assert.deepEqual([two.sent, two.topics.size, two.broadcasts], [[], 0, []])
  })

  it('throws on attach', () => {
    assert.throws(() => fakeClient().server.attach({} as never), {
      message: 'a fake client has no server to attach to; use testServer',
    })
  })

  it('admits no requests', () =>
    assert.rejects(fakeClient().server.admit({} as never, { for: 'request' }), {
      message: 'a fake client has no server to admit requests; use createServer',
    }))

  it('has the counters that a filter may read', () => {
    assert.equal(fakeClient().server.counters?.messages, 0)
  })

  it('refuses the same arguments as a real client', () => {
    const client = fakeClient()
    assert.throws(() => client.send({ a: 1 } as never), { code: 'ERR_PAYLOAD' })
    assert.throws(() => client.server.broadcast(7 as never), { code: 'ERR_PAYLOAD' })
    assert.throws(() => client.disconnect(1006), { code: 'ERR_CLOSE_CODE' })
  })
})
