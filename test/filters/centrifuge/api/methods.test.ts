import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { DROP, type FilterModule, type RunningServer, type Server } from '../../../../src/index.ts'
import { page, Raw } from '../../../support/centrifuge.ts'
import { Peer, serve as serveAll, until } from '../../../support/peer.ts'
import { API_KEY, call } from '../../../support/server-api.ts'

/** A plain client joins the topic that its first message names. */
const joins: FilterModule = { message: (payload, client) => client.join(String(payload)) }

const serve = (t: TestContext, filters: (string | FilterModule)[] = [], options: object = {}) =>
  serveAll(t, {
    filters: ['streams', ...filters, 'centrifuge', joins],
    streamsRules: ['kept:* size=5 ttl=5m', 'queue size=1 ttl=5m full=refuse'],
    centrifugeApiKey: [API_KEY],
    ...options,
  })

async function member(server: RunningServer, topic: string): Promise<Peer> {
  const before = server.clients.size
  const peer = await Peer.open(server.url)
  peer.send(topic)
  await until(() => server.clients.size > before && [...server.clients.values()].at(-1)!.topics.has(topic), 'a member')
  return peer
}

const refused = (code: number, message: string) => ({ error: { code, message } })
const NOT_KEPT = 'read() needs a kept topic; topic "a" is not kept: see -f streams'
const done = (result: object = {}) => ({ result })

describe('the server API publishes', () => {
  it('to clients of all protocols, and answers with the position on a kept topic', async t => {
    const server = await serve(t)
    const plain = await member(server, 'kept:1')
    const raw = await Raw.connected(server.url)
    raw.send({ id: 2, subscribe: { channel: 'kept:1' } })
    await raw.reply(2)
    const first = (await call(server.url, 'publish', { channel: 'kept:1', data: { n: 1 } })) as {
      result: { epoch: string }
    }
    assert.deepEqual(first, done({ offset: 1, epoch: first.result.epoch }))
    assert.deepEqual(await plain.get(1), ['{"n":1}'])
    assert.deepEqual((await raw.get(3))[2], {
      push: { channel: 'kept:1', pub: { data: { n: 1 }, offset: 1 } },
    })
  })

  for (const [what, params, answer] of [
    ['null', { channel: 'a', data: null }, done()],
    ['no data', { channel: 'a' }, refused(107, 'data or b64data is missing')],
    ['no channel', { data: 1 }, refused(107, 'channel is missing')],
    [
      'a channel that is no string',
      { channel: ['a'], data: 1 },
      refused(107, 'channel is a string of 1 to 1024 characters, received array'),
    ],
    [
      'a long channel',
      { channel: 'x'.repeat(1025), data: 1 },
      refused(107, 'channel is a string of 1 to 1024 characters, received 1025 characters'),
    ],
    [
      'a topic of a filter',
      { channel: '@presence/a', data: 1 },
      refused(103, 'channels that begin with @ belong to filters'),
    ],
    ['all clients', { channel: '@everyone', data: 1 }, done()],
    ...['AP8', 'AP8=', 'AA==', '-_-_', 'A'.repeat(1_000_000)].map(b64data => [
      'base64',
      { channel: 'a', b64data },
      done(),
    ]),
    ...['A', '=', 'A===', 'AA=A', 'A A=', 'é', 7].map(b64data => [
      'other strings',
      { channel: 'a', b64data },
      refused(107, 'b64data is not base64'),
    ]),
    ['tags', { channel: 'a', data: 1, tags: { a: 'b' } }, refused(108, 'tags are not available')],
    ['a version', { channel: 'a', data: 1, version: 2 }, refused(108, 'version is not available')],
    ['empty fields of SDKs', { channel: 'a', data: 1, tags: {}, b64data: '', skip_history: false, version: 0 }, done()],
    ['without history where none is', { channel: 'a', data: 1, skip_history: true }, done()],
    [
      'without history where all is kept',
      { channel: 'kept:1', data: 1, skip_history: true },
      refused(108, 'skip_history: all messages of this channel are kept'),
    ],
    ['a message that a filter drops', { channel: 'a', data: 'bad' }, refused(103, 'a filter has dropped the message')],
    ['a message for which a filter fails', { channel: 'a', data: 'fail' }, refused(100, 'internal server error')],
    ['to a full queue', { channel: 'queue', data: 1 }, refused(106, 'topic "queue" is full')],
  ] as [string, object, object][]) {
    it(`${what}: ${JSON.stringify(params).slice(0, 60)}`, async t => {
      const publish: FilterModule['publish'] = ({ payload }, from) => {
        assert.equal(from, undefined)
        if (payload === '"fail"') throw new Error('broken')
        return payload === '"bad"' ? DROP : undefined
      }
      const server = await serve(t, [{ publish }])
      await server.append('queue', 'first')
      assert.deepEqual(await call(server.url, 'publish', params), answer)
    })
  }

  it('binary data as bytes, and JSON as it was given', async t => {
    const server = await serve(t)
    const plain = await member(server, 'a')
    await call(server.url, 'publish', { channel: 'a', b64data: 'AP8=' })
    await call(server.url, 'publish', { channel: 'a', data: 'text' })
    assert.deepEqual(await plain.get(2), [Buffer.from([0, 255]), '"text"'])
  })

  for (const channel of ['a', 'kept:1']) {
    it(`once with an idempotency key, to ${channel}`, async t => {
      let fails = true
      const publish: FilterModule['publish'] = () => (fails ? DROP : undefined)
      const server = await serve(t, [{ publish }])
      const plain = await member(server, channel)
      const publishIt = (key: string) => call(server.url, 'publish', { channel, data: key, idempotency_key: key })
      assert.deepEqual(await publishIt('k1'), refused(103, 'a filter has dropped the message'))
      fails = false
      const first = await publishIt('k1')
      assert.ok('result' in (first as object))
      assert.deepEqual(await publishIt('k1'), first)
      await publishIt('k2')
      assert.deepEqual(await plain.get(2), ['"k1"', '"k2"'])
      assert.equal(plain.received.length, 2)
    })
  }

  it('to several channels, with an answer for each', async t => {
    const server = await serve(t)
    const [one, two] = [await member(server, 'a'), await member(server, 'b')]
    const answer = await call(server.url, 'broadcast', { channels: ['a', '@x', 'b'], data: { hi: 1 } })
    const ofFilter = refused(103, 'channels that begin with @ belong to filters')
    assert.deepEqual(answer, done({ responses: [done(), ofFilter, done()] }))
    for (const peer of [one, two]) assert.deepEqual(await peer.get(1), ['{"hi":1}'])
    assert.deepEqual(
      await call(server.url, 'broadcast', { channels: 'a', data: 1 }),
      refused(107, 'channels is an array'),
    )
    const many = { channels: Array.from({ length: 10_001 }, () => 'a'), data: 1 }
    assert.deepEqual(await call(server.url, 'broadcast', many), refused(106, 'a broadcast has at most 10000 channels'))
  })
})

describe('the server API reads', () => {
  it('the history of a channel, and removes it', async t => {
    const server = await serve(t)
    for (const n of [1, 2, 3]) await call(server.url, 'publish', { channel: 'kept:1', data: { n } })
    const history = async (params: object) => call(server.url, 'history', { channel: 'kept:1', ...params })
    const only = (await history({})) as { result: { epoch: string } }
    const { epoch } = only.result
    const with_ = (...offsets: number[]) =>
      done({ publications: offsets.map(offset => ({ data: { n: offset }, offset })), epoch, offset: 3 })
    assert.deepEqual(only, with_())
    assert.deepEqual(await history({ limit: 2 }), with_(1, 2))
    assert.deepEqual(await history({ limit: 2, since: { epoch, offset: 1 } }), with_(2, 3))
    assert.deepEqual(await history({ limit: 2, reverse: true }), with_(3, 2))
    assert.deepEqual(
      await history({ limit: 2, since: { epoch: 'other', offset: 1 } }),
      refused(112, 'unrecoverable position'),
    )
    assert.deepEqual(await call(server.url, 'history', { channel: 'a' }), refused(108, NOT_KEPT))
    assert.deepEqual(await call(server.url, 'history_remove', { channel: 'kept:1' }), done())
    assert.deepEqual(await history({ limit: 9 }), with_())
  })

  it('channels with their members, and counts', async t => {
    const server = await serve(t)
    for (const topic of ['a/1', 'b/1', 'a/1']) await member(server, topic)
    const channels = (params: object) => call(server.url, 'channels', params)
    const all = { 'a/1': { num_clients: 2 }, 'b/1': { num_clients: 1 } }
    assert.deepEqual(await channels({}), done({ channels: all }))
    assert.deepEqual(await channels({ pattern: 'a/*' }), done({ channels: { 'a/1': { num_clients: 2 } } }))
    assert.deepEqual(await channels({ pattern: '' }), done({ channels: all }))
    const wrong = await channels({ pattern: '**/a' })
    assert.deepEqual(wrong, refused(107, 'pattern: "**" is only valid as the last part, received "**/a"'))
    const { result } = (await call(server.url, 'info')) as { result: { nodes: Record<string, unknown>[] } }
    const [{ uid, name, uptime, ...counts }] = result.nodes as [Record<string, unknown>]
    assert.deepEqual(counts, { version: '', num_clients: 3, num_users: 0, num_channels: 2 })
    assert.match(`${uid} ${name} ${uptime}`, /^[\da-f-]{36} \S+ \d+$/)
  })
})

describe('the server API runs a batch', () => {
  for (const parallel of [false, true]) {
    it(`of several commands${parallel ? ' in parallel' : ''}, with a reply for each`, async t => {
      const { url } = await serve(t)
      const commands = [
        { publish: { channel: 'a', data: 1 } },
        { fly: {} },
        { batch: { commands: [] } },
        { publish: { channel: 'a' }, history: {} },
        { disconnect: {} },
        7,
        { history: { channel: 'a' } },
      ]
      assert.deepEqual(await call(url, 'batch', { commands, parallel }), {
        replies: [
          { publish: {} },
          refused(104, 'method not found'),
          refused(104, 'method not found'),
          refused(107, 'a command has one method'),
          refused(107, 'user is missing'),
          refused(104, 'method not found'),
          refused(108, NOT_KEPT),
        ],
      })
    })
  }

  it('in the order of the commands', async t => {
    const server = await serve(t)
    const plain = await member(server, 'kept:1')
    const commands = [1, 2, 3].map(data => ({ publish: { channel: 'kept:1', data } }))
    await call(server.url, 'batch', { commands })
    assert.deepEqual(await plain.get(3), ['1', '2', '3'])
  })

  it('of a bounded number', async t => {
    const { url } = await serve(t)
    assert.deepEqual(await call(url, 'batch', {}), refused(107, 'commands is an array'))
    const commands = Array.from({ length: 1001 }, () => ({ info: {} }))
    assert.deepEqual(await call(url, 'batch', { commands }), refused(106, 'a batch has at most 1000 commands'))
  })

  for (const parallel of [false, true])
    it(`until the answers have 16 MiB${parallel ? ', in parallel' : ''}`, async t => {
      const server = await serve(t)
      await server.append('kept:1', JSON.stringify('x'.repeat(1_000_000)))
      const commands = Array.from({ length: 600 }, () => ({ history: { channel: 'kept:1', limit: 1 } }))
      const { replies } = (await call(server.url, 'batch', { commands, parallel })) as { replies: object[] }
      const answered = replies.filter(reply => 'history' in reply).length
      assert.equal(answered, parallel ? 32 : 17)
      assert.deepEqual(replies.at(-1), refused(106, 'the answers to the commands before are too large'))
    })
})

describe('the server API ends', () => {
  /** A client names itself. */
  const named: FilterModule = {
    connect: client => {
      client.identity = client.handshake!.url.searchParams.get('as') ?? undefined
    },
  }
  const open = (server: RunningServer, as: string) => Peer.open(`${server.url}/?as=${as}`)
  const idOf = ({ clients }: Server, user: string) =>
    [...clients.values()].find(({ identity }) => identity === user)!.id

  it('the connections of a user, or one of them', async t => {
    const server = await serve(t, [named])
    const [ann, bob, cy] = [await open(server, 'ann'), await open(server, 'bob'), await open(server, 'cy')]
    await until(() => server.clients.size === 3)
    const disconnect = (params: object) => call(server.url, 'disconnect', params)
    assert.deepEqual(await disconnect({ user: 'bob', client: idOf(server, 'ann') }), done())
    assert.deepEqual(await disconnect({ user: 'ann' }), done())
    assert.deepEqual(await ann.end(), { code: 3503, reason: 'force disconnect' })
    assert.deepEqual(
      await disconnect({ user: 'bob', client: idOf(server, 'bob'), disconnect: { code: 4000, reason: 'x' } }),
      done(),
    )
    assert.deepEqual(await bob.end(), { code: 4000, reason: 'x' })
    assert.equal(cy.closed, undefined)
  })

  for (const [params, answer] of [
    [{}, refused(107, 'user is missing')],
    [{ user: 7 }, refused(107, 'user is a string of 1 to 1024 characters, received number')],
    [
      { user: 'a', disconnect: { code: 1000, reason: '' } },
      refused(107, 'disconnect has a code of 3000 to 4999 and a reason'),
    ],
    [{ user: 'a', disconnect: { code: 4000 } }, refused(107, 'disconnect has a code of 3000 to 4999 and a reason')],
    [{ user: 'a', session: 's' }, refused(108, 'session is not available; give client')],
    [{ user: 'a', whitelist: ['c'] }, refused(108, 'whitelist is not available')],
    [{ user: 'a', client: '', session: '', whitelist: [] }, done()],
  ] as const) {
    it(`answers ${JSON.stringify(params)} with ${JSON.stringify(answer)}`, async t => {
      const { url } = await serve(t)
      assert.deepEqual(await call(url, 'disconnect', params), answer)
    })
  }
})

describe('the server API knows', () => {
  it('the members of a channel, and their number', async t => {
    const server = await serve(t, ['presence'], { presenceTopics: ['room:*'] })
    const [one, two] = [await Raw.connected(server.url), await Raw.connected(server.url)]
    for (const raw of [one, two]) {
      raw.send({ id: 2, subscribe: { channel: 'room:1' } })
      await raw.reply(2)
    }
    const ids = [one, two].map(raw => (raw.messages[0]!.connect as { client: string }).client)
    const stats = () => call(server.url, 'presence_stats', { channel: 'room:1' })
    await until(async () => JSON.stringify(await stats()).includes('"num_clients":2'), 'two members')
    assert.deepEqual(await stats(), done({ num_clients: 2, num_users: 2 }))
    const presence = Object.fromEntries(ids.map(client => [client, { client, user: client }]))
    assert.deepEqual(await call(server.url, 'presence', { channel: 'room:1' }), done({ presence }))
    const none = refused(108, 'no presence of this channel; see -f presence and --presence-topics')
    for (const method of ['presence', 'presence_stats'])
      assert.deepEqual(await call(server.url, method, { channel: 'a' }), none, method)
  })
})

describe('a client of the Centrifugal protocol', () => {
  it('is informed that the server API has ended its subscription, and does not come back', async t => {
    const named: FilterModule = {
      stage: 'guard',
      connect: client => {
        client.identity = 'ann'
      },
    }
    const server = await serveAll(t, { filters: [named, 'centrifuge'], centrifugeApiKey: [API_KEY] })
    const { client, sub, sees, seen } = page(t, server.url, 'a')
    await sees('= subscribed')
    assert.deepEqual(await call(server.url, 'unsubscribe', { user: 'ann', channel: 'a' }), done())
    await sees('x 2000')
    assert.deepEqual(seen, ['= subscribed', 'x 2000'])
    sub.subscribe()
    await sees('= subscribed')
    const closed = new Promise(resolve => client.on('disconnected', ({ code, reason }) => resolve([code, reason])))
    assert.deepEqual(await call(server.url, 'disconnect', { user: 'ann' }), done())
    assert.deepEqual(await closed, [3503, 'force disconnect'])
  })
})
