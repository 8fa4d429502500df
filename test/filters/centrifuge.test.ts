import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Client, DROP, type Publication, type RunningServer } from '../../src/index.ts'
import { centrifuge, ENDPOINT, page, Raw } from '../support/centrifuge.ts'
import { Peer, serve, until } from '../support/peer.ts'

type T = { after(fn: () => Promise<void>): void }

const KEPT = { streamsRules: ['chat:* size=300 ttl=5m'] }

const serveKept = (t: T, options = {}): Promise<RunningServer> =>
  serve(t, { filters: ['streams', 'centrifuge'], ...KEPT, ...options })

/** The filter on its own, and its raw client. */
async function connected(t: T, options = {}): Promise<{ readonly server: RunningServer; readonly raw: Raw }> {
  const server = await serveKept(t, options)
  return { server, raw: await Raw.connected(server.url) }
}

const error = (code: number, message: string, temporary?: true) => ({
  error: { code, message, ...(temporary && { temporary }) },
})

const REPLIES: readonly [what: string, command: object, reply: unknown][] = [
  ['a subscription of a topic that is not kept', { subscribe: { channel: 'a' } }, { subscribe: {} }],
  [
    'a recovery there',
    { subscribe: { channel: 'a', recover: true } },
    { subscribe: { was_recovering: true, recovered: false } },
  ],
  [
    'one that must recover',
    { subscribe: { channel: 'a', recover: true, flag: 3 } },
    error(112, 'unrecoverable position'),
  ],
  ['unsubscribe without a subscription', { unsubscribe: { channel: 'a' } }, { unsubscribe: {} }],
  ['no channel', { subscribe: {} }, error(107, 'bad request')],
  ['an empty channel', { subscribe: { channel: '' } }, error(107, 'bad request')],
  ['a channel that is a number', { subscribe: { channel: 1 } }, error(107, 'bad request')],
  ['a channel of 256 characters', { subscribe: { channel: 'x'.repeat(256) } }, error(106, 'limit exceeded')],
  ['a topic of a filter', { subscribe: { channel: '@everyone' } }, error(103, 'permission denied')],
  ['its history', { history: { channel: '@everyone', limit: 1 } }, error(103, 'permission denied')],
  ['publishing there', { publish: { channel: '@everyone', data: 1 } }, error(103, 'permission denied')],
  ['leaving it', { unsubscribe: { channel: '@everyone' } }, error(103, 'permission denied')],
  ['a map subscription', { subscribe: { channel: 'a', type: 1 } }, error(108, 'not available')],
  [
    'an offset that is no number',
    { subscribe: { channel: 'a', recover: true, offset: '1' } },
    error(107, 'bad request'),
  ],
  ['a negative offset', { subscribe: { channel: 'a', recover: true, offset: -1 } }, error(107, 'bad request')],
  ['an epoch that is no string', { subscribe: { channel: 'a', recover: true, epoch: 1 } }, error(107, 'bad request')],
  ['publishing without permission', { publish: { channel: 'a', data: 1 } }, error(103, 'permission denied')],
  ['publishing nothing', { publish: { channel: 'a' } }, error(107, 'bad request')],
  ['history that is not kept', { history: { channel: 'a' } }, error(108, 'not available')],
  ['a procedure, if there are none', { rpc: { method: 'x' } }, error(108, 'not available')],
  ['an unknown method', { fly: {} }, error(104, 'method not found')],
  ['no method', {}, error(104, 'method not found')],
]

describe('a command', () => {
  for (const [what, command, reply] of REPLIES)
    it(`is answered: ${what}`, async t => {
      const { raw } = await connected(t)
      raw.send({ id: 2, ...command })
      assert.deepEqual(await raw.reply(2), reply)
    })

  it('is refused with error 103 by a guard, for joining, reading and publishing', async t => {
    const allowRules = ['anyone join chat:open', 'anyone read,publish chat:other']
    const { server, raw } = await connected(t, { filters: ['allow', 'streams', 'centrifuge'], allowRules })
    raw.send(
      { id: 2, subscribe: { channel: 'chat:closed' } },
      { id: 3, publish: { channel: 'chat:open', data: 1 } },
      { id: 4, history: { channel: 'chat:open' } },
      { id: 5, history: { channel: 'chat:other' } },
      { id: 6, publish: { channel: 'chat:other', data: 1 } },
    )
    await raw.reply(6)
    const denied = error(103, 'permission denied')
    for (const id of [2, 3, 4, 5]) assert.deepEqual(await raw.reply(id), denied, `${id}`)
    const { top } = await server.read('chat:other', { from: 'newest', entries: 1, bytes: 1 })
    assert.deepEqual(await raw.reply(6), { publish: top })
  })

  it('subscribes a client that may not read, without the past', async t => {
    const allowRules = ['anyone join chat:*']
    const { raw } = await connected(t, { filters: ['allow', 'streams', 'centrifuge'], allowRules })
    raw.send({ id: 2, subscribe: { channel: 'chat:1', recover: true } })
    const { subscribe } = (await raw.reply(2)) as { subscribe: Record<string, unknown> }
    const { epoch, ...rest } = subscribe
    assert.match(String(epoch), /^[\w-]{6,12}$/)
    assert.deepEqual(rest, { positioned: true, offset: 0, was_recovering: true, recovered: false })
  })
})

describe('centrifuge-js', () => {
  it('subscribes, gets what is published, and publishes', async t => {
    const server = await serveKept(t, { centrifugePublish: true })
    const ann = page(t, server.url, 'chat:1')
    await ann.sees('= subscribed')
    await server.append('chat:1', '{"n":1}')
    await ann.sees('1 {"n":1}')
    assert.deepEqual(await ann.sub.publish({ n: 2 }), {})
    await ann.sees('2 {"n":2}')
  })

  it('comes back behind its last message', async t => {
    const server = await serveKept(t)
    const ann = page(t, server.url, 'chat:1')
    await ann.sees('= subscribed')
    await server.append('chat:1', '1')
    await ann.sees('1 1')
    ann.client.disconnect()
    for (const n of [2, 3]) await server.append('chat:1', `${n}`)
    ann.client.connect()
    await ann.sees('3 3')
    assert.deepEqual(ann.seen, ['= subscribed', '1 1', '! 1', '= recovered, publications', '2 2', '3 3'])
  })
})

describe('subscribe', () => {
  it('is refused twice, and allowed again after unsubscribe', async t => {
    const { raw } = await connected(t)
    const subscribe = { channel: 'a' }
    raw.send({ id: 2, subscribe }, { id: 3, subscribe }, { id: 4, unsubscribe: subscribe }, { id: 5, subscribe })
    await raw.reply(5)
    assert.deepEqual((await raw.get(5)).slice(1), [
      { id: 2, subscribe: {} },
      { id: 3, ...error(105, 'already subscribed') },
      { id: 4, unsubscribe: {} },
      { id: 5, subscribe: {} },
    ])
  })

  it('is refused beyond --centrifuge-channels', async t => {
    const { raw } = await connected(t, { centrifugeChannels: 2 })
    raw.send(...['a', 'b', 'c'].map((channel, i) => ({ id: i + 2, subscribe: { channel } })))
    assert.deepEqual(await raw.reply(4), error(106, 'limit exceeded'))
    raw.send({ id: 5, unsubscribe: { channel: 'a' } }, { id: 6, subscribe: { channel: 'c' } })
    assert.deepEqual(await raw.reply(6), { subscribe: {} })
  })

  it('recovers from a position, with the requested offset, and refuses another epoch', async t => {
    const { server, raw } = await connected(t)
    const outcome = await server.append('chat:1', [
      { payload: '1' },
      { payload: '{"a":\r\n2}' },
      { payload: 'no JSON\n' },
    ])
    assert.ok('position' in outcome)
    const { epoch } = outcome.position
    const positioned = { recoverable: true, positioned: true, epoch }
    const publications = [
      { data: { a: 2 }, offset: 2 },
      { data: 'no JSON\n', offset: 3 },
    ]
    const recover = async (id: number, position: object) => {
      raw.send(
        { id, unsubscribe: { channel: 'chat:1' } },
        { id: id + 1, subscribe: { channel: 'chat:1', recover: true, ...position } },
      )
      return ((await raw.reply(id + 1)) as { subscribe: unknown }).subscribe
    }
    const all = { was_recovering: true, recovered: true, publications }
    assert.deepEqual(await recover(2, { offset: 1, epoch }), { ...positioned, offset: 1, ...all })
    assert.deepEqual(await recover(4, { offset: 1 }), { ...positioned, offset: 1, ...all }, 'an absent epoch is any')
    const none = { was_recovering: true, recovered: true }
    assert.deepEqual(await recover(6, { offset: 3, epoch }), { ...positioned, offset: 3, ...none })
    const lost = { ...positioned, offset: 3, was_recovering: true, recovered: false }
    assert.deepEqual(await recover(8, { offset: 3, epoch: '_' }), lost)
    assert.deepEqual(await recover(10, { offset: 4, epoch }), lost)
  })
})

describe('unsubscribe', () => {
  it('by the server ends a subscription for good, and the client may subscribe again', async t => {
    const server = await serveKept(t)
    const ann = page(t, server.url, 'chat:1')
    await ann.sees('= subscribed')
    server.unsubscribe({ topic: 'chat:1' }, 'chat:1')
    await ann.sees('x 2000')
    ann.sub.subscribe()
    await ann.sees('= recovered')
    await server.append('chat:1', '1')
    await ann.sees('1 1')
  })

  it('by the client ends a subscription', async t => {
    const { server, raw } = await connected(t)
    raw.send({ id: 2, subscribe: { channel: 'a' } }, { id: 3, unsubscribe: { channel: 'a' } })
    await raw.reply(3)
    server.broadcast('1', { topic: 'a' })
    server.broadcast('2')
    assert.deepEqual((await raw.get(4)).at(-1), { push: { message: { data: 2 } } })
  })
})

describe('messages', () => {
  it('of other filters reach subscribers of the topic, and no other client', async t => {
    const { server, raw: ann } = await connected(t)
    const bob = await Raw.connected(server.url)
    ann.send({ id: 2, subscribe: { channel: 'a' } })
    await ann.reply(2)
    for (const payload of ['{"n":\n1}', 'text', Buffer.from('binary'), '3']) server.broadcast(payload, { topic: 'a' })
    server.broadcast('"all"')
    const push = (data: unknown) => ({ push: { channel: 'a', pub: { data } } })
    const all = { push: { message: { data: 'all' } } }
    assert.deepEqual((await ann.get(6)).slice(2), [push({ n: 1 }), push('text'), push(3), all])
    assert.deepEqual((await bob.get(2)).slice(1), [all])
  })

  it('do not reach a client before it is connected', async t => {
    const server = await serveKept(t)
    const raw = await Raw.open(server.url)
    server.broadcast('"early"')
    raw.send({ id: 1, connect: {} })
    await raw.get(1)
    server.broadcast('"late"')
    const [connect, late] = await raw.get(2)
    const [client] = server.clients.values()
    assert.deepEqual(connect, {
      id: 1,
      connect: { client: client!.id, version: 'filtered-websocket', ping: 25, pong: true },
    })
    assert.deepEqual(late, { push: { message: { data: 'late' } } })
  })

  it('are one frame for all replies of a frame that are ready together', async t => {
    const { raw } = await connected(t)
    raw.send({ id: 2, rpc: {} }, { id: 3, fly: {} }, { id: 4, unsubscribe: { channel: 'a' } })
    await raw.reply(4)
    assert.ok(raw.peer.received.filter(frame => frame !== '{}').length <= 4, 'frames')
    assert.deepEqual(
      (await raw.get(4)).map(({ id }) => id),
      [1, 2, 3, 4],
    )
  })
})

describe('publish', () => {
  it('passes the handlers of all filters, which may change and drop it', async t => {
    const censor = {
      publish: ({ payload }: Publication, from: Client | undefined) =>
        payload === '"drop"' ? DROP : JSON.stringify([from!.id, JSON.parse(String(payload))]),
    }
    const filters = ['streams', 'centrifuge', censor] as never
    const { server, raw } = await connected(t, { filters, centrifugePublish: true })
    const [id] = server.clients.keys()
    raw.send({ id: 2, subscribe: { channel: 'a' } }, { id: 3, publish: { channel: 'a', data: 'x' } })
    raw.send({ id: 4, publish: { channel: 'a', data: 'drop' } }, { id: 5, publish: { channel: 'a', data: null } })
    await raw.reply(5)
    assert.deepEqual(await raw.reply(4), error(103, 'permission denied'))
    const pubs = raw.messages.flatMap(({ push }) => (push === undefined ? [] : [push]))
    assert.deepEqual(
      pubs,
      ['x', null].map(data => ({ channel: 'a', pub: { data: [id, data] } })),
    )
  })

  it('reaches plain clients of the topic unchanged', async t => {
    const joining = { open: (client: Client) => client.join('a') }
    const filters = ['streams', 'centrifuge', joining] as never
    const { server, raw } = await connected(t, { filters, centrifugePublish: true })
    const plain = await Peer.open(server.url)
    raw.send({ id: 2, publish: { channel: 'a', data: { n: 1 } } })
    assert.deepEqual(await plain.get(1), ['{"n":1}'])
  })

  it('is framed once for all clients of a channel: they share one codec', async t => {
    const { server } = await connected(t)
    await Promise.all([Raw.connected(server.url), Raw.connected(server.url)])
    assert.equal(new Set(Array.from(server.clients.values(), ({ codec }) => codec)).size, 1)
  })
})

const CLOSES: readonly [what: string, frame: string | Buffer][] = [
  ['a command before connect', '{"id":1,"subscribe":{"channel":"a"}}'],
  ['connect twice', '{"id":1,"connect":{}}\n{"id":2,"connect":{}}'],
  ['no JSON', 'hello'],
  ['an array', '[{"id":1,"connect":{}}]'],
  ['a second line that is no JSON', '{"id":1,"connect":{}}\nx'],
  ['a binary frame', Buffer.from('{"id":1,"connect":{}}')],
  ['no id', '{"connect":{}}'],
  ['an id that is a string', '{"id":"1","connect":{}}'],
  ['id 0', '{"id":0,"connect":{}}'],
  ['a request that is no object', '{"id":1,"connect":1}'],
  ['send before connect', '{"send":{"data":1}}'],
  ['JSON of 101 levels', `{"id":1,"connect":{"data":${'['.repeat(100)}${']'.repeat(100)}}}`],
  ['1,001 commands in one frame', '{"id":1,"connect":{}}\n'.repeat(1001)],
]

describe('a client', () => {
  for (const [what, frame] of CLOSES)
    it(`is closed with 3501 for ${what}`, async t => {
      const server = await serveKept(t)
      const { peer } = await Raw.open(server.url)
      peer.send(frame)
      assert.deepEqual(await peer.end(), { code: 3501, reason: 'bad request' })
    })

  it('is closed with 3500 if it has a token that no guard checks', async t => {
    const server = await serveKept(t)
    const { peer } = await Raw.open(server.url)
    peer.send('{"id":1,"connect":{"token":"x"}}')
    assert.deepEqual(await peer.end(), { code: 3500, reason: 'invalid token' })
  })

  it('is refused if it speaks Protobuf only', async t => {
    const server = await serveKept(t)
    await assert.rejects(Peer.open(`${server.url}${ENDPOINT}`, {}, ['centrifuge-protobuf']), /400/)
    const peer = await Peer.open(`${server.url}${ENDPOINT}`, {}, ['centrifuge-json', 'centrifuge-protobuf'])
    assert.equal(peer.ws.protocol, 'centrifuge-json')
  })

  it('is pinged, and closed with 3012 if it does not answer', async t => {
    const server = await serveKept(t, { centrifugePing: 0.2 })
    const raw = await Raw.connected(server.url)
    assert.deepEqual(await raw.peer.end(), { code: 3012, reason: 'no pong' })
    assert.equal(raw.peer.received.at(-1), '{}')
  })

  it('that answers pings stays', async t => {
    const server = await serveKept(t, { centrifugePing: 0.2 })
    const client = centrifuge(t, server.url)
    let errors = 0
    client.on('error', () => errors++)
    client.on('connecting', ({ code }) => code !== 0 && errors++)
    client.connect()
    await client.ready()
    const before = server.counters.messages
    await until(() => server.counters.messages >= before + 5, '5 pongs')
    assert.equal(errors, 0)
  })
})

describe('close codes', () => {
  for (const [code, reason, stated] of [
    [1000, '', { code: 3503, reason: '' }],
    [1000, '42', { code: 3503, reason: 'reason: 42' }],
    [1008, 'rate limit', { code: 3013, reason: 'rate limit' }],
    [1008, 'not allowed', { code: 3507, reason: 'not allowed' }],
    [1013, 'too slow', { code: 3008, reason: 'too slow' }],
    [1013, 'try again later', { code: 1013, reason: 'try again later' }],
    [4401, 'token expired', { code: 3005, reason: 'token expired' }],
    [4401, 'another subject', { code: 3500, reason: 'another subject' }],
    [4403, 'revoked', { code: 3500, reason: 'revoked' }],
    [4999, 'true', { code: 4999, reason: 'reason: true' }],
  ] as const)
    it(`${code} "${reason}" is ${stated.code} "${stated.reason}"`, async t => {
      const { server, raw } = await connected(t)
      const [id] = server.clients.keys()
      server.disconnect({ id: id! }, code, reason)
      assert.deepEqual(await raw.peer.end(), stated)
    })

  it('of a stop is 3001, and of a client that never connects 3502', async t => {
    const { server, raw } = await connected(t)
    const late = await Raw.open((await serveKept(t, { holdTimeout: 0.1 })).url)
    assert.deepEqual(await late.peer.end(), { code: 3502, reason: 'not admitted in time' })
    await server.close()
    assert.deepEqual(await raw.peer.end(), { code: 3001, reason: 'server is shutting down' })
  })
})
