import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { WslinkApi } from '../../filters/wslink.ts'
import type { Client } from '../../src/contract/client.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { createServer } from '../../src/index.ts'
import { testServer } from '../../src/testing/index.ts'
import { folder, refusalInside } from '../support/cli.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { sign, SECRET as TOKEN_SECRET } from '../support/tokens.ts'
import { building, Client2, call, chunk, hello, opened, SECRET, serveWslink, whole } from '../support/wslink.ts'

declare module 'filtered-websocket' {
  interface WslinkProcedures {
    'typed.add': (a: number, b: number) => number
  }
}

const UNAUTHENTICATED = { code: -32_000, message: 'Authentication failed' }

/** Registers the procedures of the tests. */
function basics(wslink: WslinkApi): void {
  wslink.register('add', (a: number, b: number) => a + b)
  wslink.register('say', (topic: string, data: unknown) => wslink.publish(topic, data))
}

/** An authenticated client of 1.x. */
async function enterFirst(url: string): Promise<Peer> {
  const peer = await Peer.open(url)
  peer.send(JSON.stringify(hello()))
  await peer.get(1)
  return peer
}

const results = (client: Client2) => client.messages.slice(1).map(({ result, error }) => result ?? error)
/** Topic and data of each publish. */
const published = (messages: readonly { id: string; result: unknown }[]) =>
  messages.filter(({ id }) => id.startsWith('publish:')).map(({ id, result }) => [id.split(':')[1], result])

describe('wslink admits', () => {
  it('no client without a means of authentication, and refuses to start', async () => {
    await assert.rejects(createServer({ port: 0, logLevel: 'silent', filters: ['wslink'] }), {
      code: 'ERR_OPTION',
      message:
        /^filter wslink: no client can authenticate: set --wslink-secret, put jwt before it, or set --wslink-open$/,
    })
  })
  it('no client with contradictory options, and refuses to start', async t => {
    const base = folder(t)
    const refused = (...flags: string[]) => refusalInside(['-f', 'wslink', ...flags], base)
    assert.match(
      await refused('--wslink-open', '--wslink-secret', 'x'),
      /--wslink-open and --wslink-secret exclude each other; set one of them$/,
    )
    assert.match(
      await refused('--wslink-open', '--wslink-topic', 'my-room'),
      /--wslink-topic takes letters, digits and _ with single dots between them, received "my-room"$/,
    )
  })
  it('no client if a broadcasting filter precedes it, and refuses to start', async t => {
    const options = { port: 0, logLevel: 'silent', wslinkOpen: true, wslinkTopic: 'room' } as const
    await assert.rejects(createServer({ ...options, filters: ['broadcast', 'wslink'] }), {
      code: 'ERR_OPTION',
      message:
        /^filter wslink: with --wslink-topic, put wslink before broadcast in -f, which would broadcast raw frames$/,
    })
    await serve(t, { ...options, filters: ['rate-limit', 'wslink', 'broadcast'] })
  })
  it('no client with the codec of another filter, and logs it once', async () => {
    const server = await testServer(['media', 'wslink'], { wslinkOpen: true })
    await server.connect()
    await server.connect()
    const lines = server.logged.filter(({ msg }) => msg === 'clients skipped: another filter set their codec')
    assert.deepEqual(
      lines.map(({ protocol }) => protocol),
      ['media'],
    )
    await server.stop()
  })
  it('only clients with the secret', async t => {
    const { open } = await serveWslink(t)
    const peer = await open()
    for (const wrong of ['', 's3cre', 's3cret ', 5, null, ['s3cret']]) {
      const other = await open()
      other.send(whole(hello(wrong)))
      await other.get(1)
      assert.deepEqual(opened(other.received)[0].error, UNAUTHENTICATED, JSON.stringify(wrong))
    }
    peer.send(whole(hello()))
    await peer.get(1)
    const { clientID, maxMsgSize } = opened(peer.received)[0].result
    assert.match(clientID, /^c[0-9a-f]{32}$/)
    assert.equal(maxMsgSize, 4_194_304)
  })
  it('all clients with --wslink-open, by any hello', async t => {
    const { open } = await serveWslink(t, basics, { wslinkSecret: undefined, wslinkOpen: true })
    const peer = await open()
    peer.send(whole(call('1', 'add', [1, 2])))
    peer.send(whole({ id: 'system:c0:0', method: 'wslink.hello' }))
    peer.send(whole(call('2', 'add', [1, 2])))
    await peer.get(3)
    const [early, , late] = opened(peer.received)
    assert.deepEqual(early.error, { code: -32_000, message: 'Unauthorized: Skip message processing' })
    assert.equal(late.result, 3)
  })
  it('clients that all hooks accept, with the identity of the hooks', async t => {
    const asked: unknown[] = []
    const on = (wslink: WslinkApi) => {
      wslink.validate(async secret => {
        asked.push(secret)
        if (secret === 'broken') throw new Error('no database')
        return typeof secret === 'string' && secret.startsWith('user-') ? secret.slice(5) : secret === 'guest'
      })
      wslink.validate(secret => secret !== 'user-eve')
      wslink.register('who', () => wslink.caller?.identity ?? 'nobody')
    }
    const { open } = await serveWslink(t, on)
    const answer = async (secret: string) => {
      const peer = await open()
      peer.send(whole(hello(secret)))
      peer.send(whole(call('1', 'who')))
      await peer.get(2)
      const [first, second] = opened(peer.received)
      return first.error?.message ?? second.result
    }
    assert.equal(await answer('user-ann'), 'ann')
    assert.equal(await answer('guest'), 'nobody')
    for (const secret of ['user-eve', 'broken', SECRET]) assert.equal(await answer(secret), 'Authentication failed')
    assert.deepEqual(asked, ['user-ann', 'guest', 'user-eve', 'broken', SECRET])
  })
  it('clients that jwt has authenticated, with any secret', async t => {
    const server = await serve(t, {
      filters: ['jwt', 'wslink', building(wslink => wslink.register('who', () => wslink.caller?.identity))],
      jwtSecret: TOKEN_SECRET,
      jwtQuery: true,
    })
    const client = await Client2.enter(`${server.url}/?token=${sign({ sub: 'ann', exp: 4_102_444_800 })}`)
    client.call('who')
    await client.peer.get(2)
    assert.deepEqual(results(client), ['ann'])
  })
  it('clients that jwt has authenticated only with the secret, if one is set', async t => {
    const server = await serve(t, {
      filters: ['jwt', 'wslink', building(basics)],
      jwtSecret: TOKEN_SECRET,
      jwtQuery: true,
      wslinkSecret: SECRET,
    })
    const peer = await Peer.open(`${server.url}/?token=${sign({ sub: 'ann', exp: 4_102_444_800 })}`)
    peer.send(whole(hello('wrong')))
    peer.send(whole(hello()))
    await peer.get(2)
    const [first, second] = opened(peer.received)
    assert.deepEqual(first.error, UNAUTHENTICATED)
    assert.ok(second.result.clientID)
  })
  it('no client that was closed because a hook took too long', async t => {
    let answer = (_: boolean) => {}
    const seen: string[] = []
    const { server, open } = await serveWslink(
      t,
      wslink => {
        wslink.validate(() => new Promise<boolean>(resolve => (answer = resolve)))
        wslink.onConnect(() => void seen.push('in'))
        wslink.onClose(() => void seen.push('out'))
      },
      { filterTimeout: 0.02 },
    )
    const peer = await open()
    const [client] = server.clients.values()
    peer.send(whole(hello()))
    await until(() => server.counters.messages === 1)
    peer.ws.terminate()
    await until(() => server.handlers.some(({ chain, failed }) => chain === 'message' && failed === 1))
    await until(() => client!.signal.aborted)
    answer(true)
    await new Promise(setImmediate)
    assert.deepEqual([seen, client!.topics.size], [[], 0])
  })
  it('no client after five failed authentications', async t => {
    const { open } = await serveWslink(t)
    const peer = await open()
    for (let i = 0; i < 6; i++) peer.send(whole(hello('wrong')))
    assert.deepEqual(await peer.end(), { code: 1008, reason: '5 failed authentications' })
    assert.equal(peer.received.length, 5)
  })
  it('no client that sends nothing', async t => {
    const { open } = await serveWslink(t, basics, { holdTimeout: 0.05 })
    assert.deepEqual(await (await open()).end(), { code: 1008, reason: 'not admitted in time' })
  })
})

describe('wslink publishes', () => {
  it('to authenticated clients only', async t => {
    const { enter, open, url } = await serveWslink(t, basics)
    const [ann, first, stranger] = [await enter(), await enterFirst(url), await open()]
    ann.call('say', ['room', { a: Buffer.from('bytes') }])
    await first.get(4)
    assert.deepEqual(first.received.slice(1), [
      '{"wslink": "1.0", "method": "wslink.binary.attachment", "args": ["wslink_bin0"]}',
      Buffer.from('bytes'),
      '{"wslink": "1.0", "id": "publish:room:0", "result": {"a": "wslink_bin0"}}',
    ])
    stranger.send(whole(hello()))
    await stranger.get(1)
    assert.equal(opened(stranger.received)[0].id, 'system:c0:0')
  })
  it('and frames once for all clients of a version', async t => {
    const { enter } = await serveWslink(t, basics)
    const clients = await Promise.all([enter(), enter(), enter()])
    clients[0]!.call('say', ['room', 1])
    const frames = await Promise.all(clients.map(async ({ peer }, i) => (await peer.get(i === 0 ? 3 : 2)).at(-1)))
    // The id of the message is the same too.
    assert.deepEqual(frames[1], frames[0])
    assert.deepEqual(frames[2], frames[0])
  })
  it('after the reply of the publishing procedure, in order', async t => {
    const { enter } = await serveWslink(t, wslink => {
      const say = (from: string) => {
        wslink.publish('room', `${from} 1`)
        wslink.publish('room', `${from} 2`)
        return from
      }
      wslink.register('sync', () => say('sync'))
      wslink.register('async', async () => say('async'))
      wslink.register('fails', () => {
        say('fails')
        throw new Error('after all')
      })
    })
    const client = await enter()
    for (const method of ['sync', 'async', 'fails']) client.call(method)
    await client.peer.get(10)
    const seen = client.messages.slice(1).map(({ result, error }) => result ?? error.data.exception)
    // Publishes of an async procedure are sent at the end of the turn, maybe after replies to other calls.
    const before = (a: string, b: string) => assert.ok(seen.indexOf(a) < seen.indexOf(b), `${a} before ${b}: ${seen}`)
    before('sync', 'sync 1')
    before('async', 'async 1')
    before('after all', 'fails 1')
    assert.deepEqual(
      seen.filter(text => /\d/.test(text)),
      ['sync', 'async', 'fails'].flatMap(from => [`${from} 1`, `${from} 2`]),
    )
  })
  it('to one client, to all except one, or by interest', async t => {
    const { enter } = await serveWslink(t, wslink => {
      wslink.register('me', () => wslink.publish('room', 'to me', { to: wslink.caller! }))
      wslink.register('others', () => wslink.publish('room', 'to others', { except: wslink.caller! }))
      wslink.register('deep', () =>
        wslink.publish('room', 'to divers', { where: interest => (interest as { depth: number })?.depth > 10 }),
      )
      wslink.register('end', () => wslink.publish('end', true))
    })
    const clients = [await enter(), await enter(), await enter()]
    clients[1]!.call('wslink.subscribe', ['room', { depth: 5 }])
    clients[2]!.call('wslink.subscribe', ['room', { depth: 50 }])
    for (const client of clients.slice(1)) {
      client.call('wslink.subscribe', ['end'])
      await client.peer.get(3)
    }
    for (const method of ['me', 'others', 'deep', 'end']) clients[0]!.call(method)
    for (const { peer, messages } of clients)
      await until(() => opened(peer.received).at(-1).id === 'publish:end:0', `${messages}`)
    const rooms = clients.map(({ messages }) => published(messages).map(([, data]) => data))
    assert.deepEqual(rooms, [
      ['to me', true],
      ['to others', true],
      ['to others', 'to divers', true],
    ])
  })
  it('on short topics only, since subscribed topics are stored', async t => {
    const { enter } = await serveWslink(t, basics)
    const client = await enter()
    client.call('wslink.subscribe', ['x'.repeat(256)])
    client.call('wslink.subscribe', ['x'.repeat(257)])
    await client.peer.get(3)
    const [taken, refused] = results(client)
    assert.equal(taken, true)
    assert.equal(refused.data.exception, 'a topic has at most 256 characters, received 257')
  })
  it('only on topics that official clients accept', async t => {
    const { enter } = await serveWslink(t, basics)
    const client = await enter()
    for (const topic of ['my-room', 'a..b', '', 'ä', 5]) client.call('say', [topic, 1])
    client.call('wslink.subscribe', ['my-room'])
    await client.peer.get(7)
    const why = (topic: unknown) =>
      `a topic has letters, digits and _, separated by single dots, received ${JSON.stringify(topic)}`
    assert.deepEqual(
      results(client).map(({ data }) => data.exception),
      ['my-room', 'a..b', '', 'ä', 5, 'my-room'].map(why),
    )
  })
  it('broadcasts of other filters on a topic, to its subscribers', async t => {
    const chat = { message: (payload: Payload, client: Client) => client.server.broadcast(payload) }
    const other = { name: 'other', encode: (payload: Payload) => payload }
    const outsiders = {
      connect(client: Client) {
        if (client.handshake!.url.pathname === '/plain') client.codec = other
      },
    }
    const { url, enter } = await serveWslink(t, basics, {
      filters: [outsiders, 'wslink', chat, building(basics)],
      wslinkTopic: 'chat',
    })
    const [all, narrow, first] = [await enter(), await enter(), await enterFirst(url)]
    narrow.call('wslink.subscribe', ['room'])
    await narrow.peer.get(2)
    const plain = await Peer.open(`${url}/plain`)
    plain.send('hi')
    plain.send(Buffer.from('bytes'))
    await plain.get(2)
    all.call('say', ['room', 'end'])
    for (const peer of [narrow.peer, all.peer])
      await until(() => published(opened(peer.received)).at(-1)?.[1] === 'end')
    assert.deepEqual(published(all.messages), [
      ['chat', 'hi'],
      ['chat', Buffer.from('bytes')],
      ['room', 'end'],
    ])
    assert.deepEqual(published(narrow.messages), [['room', 'end']])
    assert.equal(first.received[1], '{"wslink": "1.0", "id": "publish:chat:0", "result": "hi"}')
    narrow.call('wslink.subscribe', ['chat'])
    await narrow.peer.get(4)
    plain.send('again')
    await narrow.peer.get(5)
    assert.deepEqual(published(narrow.messages).at(-1), ['chat', 'again'])
  })
  it('no broadcasts of other filters by default', async t => {
    const { server, enter } = await serveWslink(t, basics)
    const client = await enter()
    server.broadcast('plain text, at which the official client throws')
    client.call('add', [1, 2])
    await client.peer.get(2)
    assert.deepEqual(results(client), [3])
  })
})

describe('a client of wslink', () => {
  it('can be refused a topic by a hook, or get messages from it', async t => {
    const received: unknown[] = []
    const { enter } = await serveWslink(t, wslink => {
      wslink.onSubscribe(async (topic, _, interest) => {
        received.push([topic, interest])
        if (topic === 'secret') throw new Error('not for you')
      })
      wslink.onSubscribe((topic, client) => wslink.publish(topic, 'so far', { to: client }))
      basics(wslink)
    })
    const client = await enter()
    client.call('wslink.subscribe', ['secret'])
    await client.peer.get(2)
    client.call('say', ['any', 'published after the refusal'])
    await client.peer.get(4)
    client.call('wslink.subscribe', ['secret'])
    client.call('wslink.subscribe', ['room', [1, 'x']])
    await client.peer.get(7)
    client.call('say', ['secret', 1])
    client.call('add', [1, 2])
    await client.peer.get(9)
    assert.deepEqual(received, [
      ['secret', undefined],
      ['secret', undefined],
      ['room', [1, 'x']],
    ])
    assert.equal(client.messages.find(({ error }) => error !== undefined).error.data.exception, 'not for you')
    assert.deepEqual(published(client.messages), [
      ['any', 'published after the refusal'],
      ['room', 'so far'],
    ])
  })
  it('can subscribe to 256 topics, with small interests', async t => {
    const { enter } = await serveWslink(t)
    const client = await enter()
    for (let i = 0; i <= 256; i++) client.call('wslink.subscribe', [`t${i}`])
    client.call('wslink.subscribe', ['t0', 'x'.repeat(5000)])
    await client.peer.get(259)
    const seen = results(client)
    assert.deepEqual(new Set(seen.slice(0, 256)), new Set([true]))
    assert.equal(seen[256].data.exception, 'a client can subscribe to at most 256 topics')
    assert.equal(seen[257].data.exception, 'an interest has at most 4096 bytes, received 5003')
  })
  it('gets the topics that a guard allows', async t => {
    const { url } = await serve(t, {
      filters: ['allow', 'wslink', building(basics)],
      allowRules: ['anyone join wslink/room'],
      wslinkSecret: SECRET,
    })
    const client = await Client2.enter(url)
    client.call('say', ['room', 1])
    client.call('wslink.subscribe', ['other'])
    client.call('wslink.subscribe', ['room'])
    client.call('say', ['room', 2])
    await client.peer.get(6)
    assert.equal(results(client)[1].data.exception, 'not allowed to listen to other')
    assert.deepEqual(published(client.messages), [['room', 2]])
  })
  it('is reported to onConnect and onClose', async t => {
    const seen: string[] = []
    const { enter, open } = await serveWslink(t, wslink => {
      wslink.onConnect(async client => void seen.push(`in ${client.topics.size}`))
      wslink.onConnect(client => wslink.publish('welcome', client.id.length, { to: client }))
      wslink.onClose((_, { code }) => void seen.push(`out ${code}`))
    })
    const stranger = await open()
    stranger.ws.close(1000)
    const { peer } = await enter()
    await peer.get(2)
    assert.deepEqual(published(opened(peer.received)), [['welcome', 36]])
    peer.ws.close(4000)
    await until(() => seen.length === 2)
    assert.deepEqual(seen, ['in 1', 'out 4000'])
  })
  it('gets the stack of errors with --wslink-debug', async t => {
    const { enter } = await serveWslink(
      t,
      wslink => {
        wslink.register('fails', () => {
          throw new TypeError('boom')
        })
        wslink.register('fails.oddly', async () => Promise.reject('just text'))
      },
      { wslinkDebug: true },
    )
    const client = await enter()
    client.call('fails')
    client.call('fails.oddly')
    await client.peer.get(3)
    const [error, odd] = results(client)
    assert.match(error.data.trace, /^TypeError: boom\n +at .*wslink\.test\.ts/)
    assert.deepEqual(odd.data, { method: 'fails.oddly', exception: 'just text' })
  })
  it('ends a generator by disconnecting', async t => {
    const seen: string[] = []
    const { enter } = await serveWslink(t, wslink => {
      wslink.register('for.ever', async function* () {
        try {
          for (let i = 0; ; i++) yield i
        } finally {
          seen.push('ended')
        }
      })
    })
    const { peer } = await (async () => {
      const client = await enter()
      client.call('for.ever')
      return client
    })()
    await peer.get(5)
    peer.ws.terminate()
    await until(() => seen.length === 1, 'the end of the generator')
  })
  it('ends a generator that yields a value that cannot be encoded', async t => {
    const seen: string[] = []
    const { enter } = await serveWslink(t, wslink => {
      wslink.register('odd', async function* () {
        try {
          yield () => {}
        } finally {
          seen.push('ended')
        }
      })
    })
    const client = await enter()
    client.call('odd')
    await client.peer.get(2)
    assert.equal(results(client)[0].data.exception, 'Unrecognized object: [object Function]')
    assert.deepEqual(seen, ['ended'])
  })
  it('gets an error for any value that a procedure throws', async t => {
    const odd = [
      Object.create(null),
      Object.assign(new Error(), { message: Object.create(null) }),
      undefined,
      Symbol('x'),
    ]
    const { enter } = await serveWslink(t, wslink => {
      wslink.register('odd', (i: number) => {
        throw odd[i]
      })
      wslink.register('odd.later', async (i: number) => Promise.reject(odd[i]))
    })
    const client = await enter()
    for (const method of ['odd', 'odd.later']) for (const i of odd.keys()) client.call(method, [i])
    await client.peer.get(9)
    const texts = ['an error without a message', 'an error without a message', 'undefined', 'Symbol(x)']
    const seen = results(client).map(({ data }) => data.exception)
    assert.deepEqual(seen.sort(), [...texts, ...texts].sort())
  })
  it('gets an error for a result that cannot be encoded', async t => {
    const circle: unknown[] = []
    circle.push(circle)
    const odd = [() => {}, Symbol('x'), 2n ** 70n, circle]
    const { enter, url } = await serveWslink(t, wslink => wslink.register('odd', (i: number) => [odd[i]]))
    const [client, first] = [await enter(), await enterFirst(url)]
    for (const i of odd.keys()) client.call('odd', [i])
    await client.peer.get(5)
    const error = { code: -32_002, message: 'Method result cannot be serialized', data: 'odd' }
    assert.deepEqual(results(client), [error, error, error, error])
    for (const i of [0, 1, 3]) first.send(JSON.stringify(call(`${i}`, 'odd', [i])))
    for (const text of (await first.get(4)).slice(1)) assert.deepEqual(JSON.parse(String(text)).error, error)
  })
  it('can stop the server with --wslink-exit', async t => {
    for (const [method, args] of [
      ['application.exit', []],
      ['application.exit.later', [0]],
    ] as const) {
      const { server, enter } = await serveWslink(t, basics, { wslinkExit: true })
      const client = await enter()
      client.call(method, args)
      assert.equal((await client.peer.end()).code, 1001)
      assert.equal(client.messages[1].result, null)
      await server.closed
    }
  })
  it('is not read while it has too many running calls', async t => {
    let running = 0
    let most = 0
    const ends: (() => void)[] = []
    const { enter } = await serveWslink(
      t,
      wslink =>
        wslink.register('wait', async () => {
          most = Math.max(most, ++running)
          await new Promise<void>(end => ends.push(end))
          running--
        }),
      { wslinkPending: 3 },
    )
    const client = await enter()
    for (let i = 0; i < 10; i++) client.call('wait')
    for (let answered = 0; answered < 10; answered++) {
      await until(() => ends.length > 0)
      ends.shift()!()
      await client.peer.get(2 + answered)
    }
    assert.equal(most, 3)
  })
  it('gets an error for a call that has waited 10 seconds for others', async t => {
    const waits: number[] = []
    t.mock.method(AbortSignal, 'timeout', (ms: number) => {
      waits.push(ms)
      return AbortSignal.abort()
    })
    const ends: (() => void)[] = []
    const { enter } = await serveWslink(
      t,
      wslink => wslink.register('wait', () => new Promise<void>(end => ends.push(end))),
      { wslinkPending: 1 },
    )
    const client = await enter()
    client.call('wait')
    client.call('wait')
    await until(() => client.messages.length === 2)
    assert.match(JSON.stringify(client.messages[1].error), /too many running calls of this client, try later/)
    assert.deepEqual(waits, [10_000])
    ends[0]!()
    await until(() => client.messages.length === 3)
    client.call('wait')
    await until(() => ends.length === 2)
    ends[1]!()
    await until(() => client.messages.length === 4)
  })
  it('is not read while its running calls use much memory, even with few bytes on the wire', async t => {
    let running = 0
    const ends: (() => void)[] = []
    const { enter } = await serveWslink(
      t,
      wslink =>
        wslink.register('wait', (_: unknown[]) => {
          running++
          return new Promise<void>(end => ends.push(end))
        }),
      { wslinkMaxMessage: 1_000_000 },
    )
    const client = await enter()
    // About 10,000 bytes on the wire, and 1,300,000 in memory.
    for (let i = 0; i < 3; i++) client.call('wait', [Array.from({ length: 10_000 }, () => ({}))])
    for (let i = 1; i <= 3; i++) {
      await until(() => ends.length > 0)
      assert.equal(running, i)
      ends.shift()!()
      await client.peer.get(1 + i)
    }
  })
  it('that does not read causes a bounded number of large replies', async t => {
    let made = 0
    const { server, enter } = await serveWslink(
      t,
      wslink =>
        wslink.register('large', () => {
          made++
          return Buffer.alloc(1_000_000)
        }),
      { maxBuffered: 100_000, wslinkMaxMessage: 3_000_000 },
    )
    const client = await enter()
    client.peer.ws.pause()
    for (let i = 0; i < 40; i++) client.call('large')
    await until(() => server.counters.messages >= 10 && made > 3)
    // Those in the socket buffers, one sent, and three queued.
    await new Promise(setImmediate)
    const sockets = server.counters.deliveries
    assert.ok(made <= sockets + 4, `${made} answers, ${sockets} sent`)
    client.peer.ws.resume()
    await client.peer.get(41)
    assert.equal(made, 40)
  })
  it('that has disconnected leaves no unfinished messages, also with running calls', async t => {
    const ends: (() => void)[] = []
    const { server, enter } = await serveWslink(t, wslink =>
      wslink.register('wait', () => new Promise<void>(end => ends.push(end))),
    )
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 4; i++) {
      const client = await enter()
      client.call('wait')
      for (let at = 0; at < 100; at += 4)
        client.peer.send(chunk(9, at * 1_000_000, 101_000_000, Buffer.alloc(4_000_000)))
      client.call('wslink.unsubscribe', ['x'])
      await client.peer.get(2)
      client.peer.ws.terminate()
      await until(() => server.clients.size === 0)
    }
    gc()
    const kept = process.memoryUsage().arrayBuffers - before
    assert.equal(ends.length, 4)
    assert.ok(kept < 200_000_000, `${kept} bytes`)
  })
  it('that reads slowly gets its large replies one by one', async t => {
    const SIZE = 20_000_000
    const { server, enter } = await serveWslink(
      t,
      wslink => wslink.register('large', (fill: number) => Buffer.alloc(SIZE, fill)),
      { maxBuffered: 100_000 },
    )
    const client = await enter()
    client.peer.ws.pause()
    for (let i = 0; i < 8; i++) client.call('large', [i])
    await until(() => server.counters.messages === 9)
    client.peer.ws.resume()
    // Cheaper than decoding the messages at each poll.
    const bytes = () => client.peer.received.reduce((sum, frame) => sum + frame.length, 0)
    await until(() => bytes() > 8 * SIZE, 'eight replies')
    assert.deepEqual(
      results(client).map(bytes => [bytes.length, bytes[0]]),
      Array.from({ length: 8 }, (_, i) => [SIZE, i]),
    )
    assert.equal(client.peer.closed, undefined)
  })
})

describe('procedures', () => {
  it('have the types that filters declare', async t => {
    const { enter } = await serveWslink(t, wslink => {
      wslink.register('typed.add', (a, b) => a.valueOf() + b)
      // @ts-expect-error: it returns a number
      const wrong: Parameters<typeof wslink.register<'typed.add'>>[1] = () => 'text'
      wslink.register('other', wrong)
    })
    const client = await enter()
    client.call('typed.add', [1, 2])
    client.call('other')
    await client.peer.get(3)
    assert.deepEqual(results(client), [3, 'text'])
  })
  it('have valid and unique names', async t => {
    const caught: string[] = []
    await serveWslink(t, wslink => {
      const attempt = (name: string, procedure: unknown = () => {}) => {
        try {
          wslink.register(name, procedure as () => void)
        } catch (error) {
          caught.push((error as Error).message)
        }
      }
      for (const name of ['a', 'a1_.b_2', 'demo.add']) attempt(name)
      for (const name of ['Add', 'a-b', '1a', 'a..b', 'a.', '', '_a']) attempt(name)
      attempt('demo.add')
      attempt('wslink.subscribe')
      attempt('x', 5)
    })
    const rule = 'lower-case letters, digits and _ in parts that start with a letter, separated by dots'
    assert.deepEqual(caught, [
      ...['Add', 'a-b', '1a', 'a..b', 'a.', '', '_a'].map(
        name => `the name of a procedure has ${rule}, received ${JSON.stringify(name)}`,
      ),
      'procedure demo.add is already registered',
      'procedure wslink.subscribe is already registered',
      'procedure x is not a function',
    ])
  })
})
