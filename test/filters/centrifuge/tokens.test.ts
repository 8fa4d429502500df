import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createServer, type RunningServer } from '../../../src/index.ts'
import { centrifuge, page, Raw } from '../../support/centrifuge.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { SECRET, sign } from '../../support/tokens.ts'

type T = { after(fn: () => Promise<void>): void }

const OPTIONS = {
  filters: ['jwt', 'streams', 'centrifuge'],
  jwtSecret: SECRET,
  jwtClockTolerance: 0,
  streamsRules: ['chat:* size=300 ttl=5m', 'private:* size=300 ttl=5m'],
  centrifugePrivate: ['private:*'],
}
const start = (t: T, options = {}) => serve(t, { ...OPTIONS, ...options })

const seconds = () => Math.floor(Date.now() / 1000)
/** Asserts that a token that was signed for `of` seconds has nearly as many left. */
const assertTtl = (ttl: unknown, of: number) => assert.ok(Number(ttl) > of - 60 && Number(ttl) <= of + 2, `${ttl}`)
const denied = { error: { code: 103, message: 'permission denied' } }

describe('a connection token', () => {
  it('admits a client, with its identity, and commands of the same frame wait for it', async t => {
    const server = await start(t)
    const raw = await Raw.open(server.url)
    const token = sign({ sub: 'ann', exp: seconds() + 100 })
    raw.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: 'chat:1' } })
    await raw.reply(2)
    const { connect } = (await raw.reply(1)) as { connect: Record<string, unknown> }
    assert.equal(connect.expires, true)
    assertTtl(connect.ttl, 100)
    assert.equal(server.clients.get(String(connect.client))?.identity, 'ann')
  })

  const refusals: readonly [what: string, token: unknown, reason: string][] = [
    ['is missing', undefined, 'no token'],
    ['is empty', '', 'no token'],
    ['is a number', 1, 'no token'],
    ['is malformed', 'x', 'malformed'],
    ['has another signature', sign({ sub: 'ann' }, { key: 'another secret of thirty-two bytes' }), 'bad signature'],
    ['is for one channel', sign({ sub: 'ann', channel: 'private:1' }), 'invalid token'],
  ]
  for (const [what, token, reason] of refusals)
    it(`closes the client with 3500 if it ${what}`, async t => {
      const server = await start(t)
      const raw = await Raw.open(server.url)
      raw.send({ id: 1, connect: { ...(token !== undefined && { token }) } })
      assert.deepEqual(await raw.peer.end(), { code: 3500, reason })
      assert.deepEqual(raw.messages, [])
    })

  it('that has expired is error 109, and centrifuge-js comes back with another one', async t => {
    const server = await start(t)
    const tokens = [sign({ sub: 'ann', exp: seconds() - 10 }), sign({ sub: 'ann' })]
    const errors: number[] = []
    const client = centrifuge(t, server.url, { getToken: async () => tokens.shift()! })
    client.on('error', ({ error }) => errors.push(error.code))
    client.connect()
    await client.ready()
    assert.deepEqual(errors, [109])
  })

  it('is refreshed by centrifuge-js, and the connection stays', async t => {
    const server = await start(t)
    let asked = 0
    const ann = page(t, server.url, 'chat:1', {
      options: { getToken: async () => sign({ sub: 'ann', exp: seconds() + (++asked === 1 ? 2 : 100) }) },
    })
    await ann.sees('= subscribed')
    await until(() => asked === 2, 'a refresh')
    const [client] = server.clients.values()
    await until(() => (client!.state.user?.exp ?? 0) > seconds() + 50, 'the new token')
    assert.deepEqual(ann.seen, ['= subscribed'])
  })

  for (const [what, token, expected] of [
    ['of another user is refused', sign({ sub: 'bob' }), { code: 3500, reason: 'another subject' }],
    ['that has expired makes the client come back', sign({ sub: 'ann', exp: 1 }), { code: 3005, reason: 'expired' }],
    ['that is malformed is refused', 'x', { code: 3500, reason: 'malformed' }],
    ['for one channel is refused', sign({ sub: 'ann', channel: 'private:1' }), { code: 3500, reason: 'invalid token' }],
  ] as const)
    it(`${what}, if it is a refresh`, async t => {
      const server = await start(t)
      const raw = await Raw.open(server.url)
      raw.send({ id: 1, connect: { token: sign({ sub: 'ann' }) } }, { id: 2, refresh: { token } })
      assert.deepEqual(await raw.peer.end(), expected)
    })

  it('refreshed to fewer rights ends subscriptions', async t => {
    const options = { filters: ['jwt', 'allow', 'streams', 'centrifuge'], allowRules: ['room=1 join chat:1'] }
    const server = await start(t, { ...options, centrifugePrivate: [] })
    const raw = await Raw.open(server.url)
    raw.send(
      { id: 1, connect: { token: sign({ sub: 'ann', room: '1' }) } },
      { id: 2, subscribe: { channel: 'chat:1' } },
    )
    await raw.reply(2)
    raw.send({ id: 3, refresh: { token: sign({ sub: 'ann' }) } })
    await raw.reply(3)
    await server.append('chat:1', '1')
    const pushes = raw.messages.filter(({ push }) => push !== undefined)
    const unsubscribe = { code: 2000, reason: 'permission denied' }
    assert.deepEqual(pushes, [{ push: { channel: 'chat:1', unsubscribe } }])
  })

  it('of another user, at the return, gives nothing of the past', async t => {
    const options = { filters: ['jwt', 'allow', 'streams', 'centrifuge'], centrifugePrivate: [] }
    const server = await start(t, { ...options, allowRules: ['sub=ann join,read chat:1'] })
    await server.append('chat:1', '"for ann"')
    const subscribe = { channel: 'chat:1', recover: true }
    for (const [sub, reply] of [
      ['ann', true],
      ['bob', false],
    ] as const) {
      const raw = await Raw.open(server.url)
      raw.send(
        { id: 1, connect: { token: sign({ sub }) } },
        { id: 2, subscribe },
        { id: 3, history: { channel: 'chat:1', limit: 1 } },
      )
      const replies = [await raw.reply(2), await raw.reply(3)]
      if (reply) assert.ok(replies.every(one => JSON.stringify(one).includes('for ann')))
      else assert.deepEqual(replies, [denied, denied])
    }
  })

  it('subscribes the client to the topics of its claim', async t => {
    const server = await start(t, { jwtTopics: 'channels' })
    const raw = await Raw.open(server.url)
    raw.send({ id: 1, connect: { token: sign({ sub: 'ann', channels: ['news'] }) } })
    const { connect } = (await raw.reply(1)) as { connect: { subs: object } }
    assert.deepEqual(connect.subs, { news: {} })
    server.broadcast('1', { topic: 'news' })
    assert.deepEqual((await raw.get(2))[1], { push: { channel: 'news', pub: { data: 1 } } })
    raw.send({ id: 2, subscribe: { channel: 'news' } })
    assert.deepEqual(await raw.reply(2), { subscribe: {} })
  })

  it('informs the client of the topics that the claim of its next token removes and adds', async t => {
    const server = await start(t, { jwtTopics: 'channels' })
    const raw = await Raw.open(server.url)
    const token = (...channels: string[]) => sign({ sub: 'ann', channels })
    raw.send({ id: 1, connect: { token: token('a', 'b') } }, { id: 2, subscribe: { channel: 'a' } })
    await raw.reply(2)
    raw.send({ id: 3, refresh: { token: token('b', 'c') } })
    await raw.reply(3)
    server.broadcast('1', { topic: 'c' })
    assert.deepEqual(
      (await raw.get(6)).flatMap(({ push }) => push ?? []),
      [
        { channel: 'a', unsubscribe: { code: 2000, reason: 'server unsubscribe' } },
        { channel: 'c', subscribe: {} },
        { channel: 'c', pub: { data: 1 } },
      ],
    )
  })
})

describe('a subscription token', () => {
  const subscribing = async (t: T, token: unknown, channel = 'private:1') => {
    const server = await start(t)
    const raw = await Raw.open(server.url)
    raw.send({ id: 1, connect: { token: sign({ sub: 'ann' }) } }, { id: 2, subscribe: { channel, token } })
    return { server, raw, reply: (await raw.reply(2)) as Record<string, unknown> }
  }

  for (const [what, token, expected] of [
    ['is missing', undefined, denied],
    ['is empty', '', denied],
    ['is a number', 1, denied],
    ['is malformed', 'x', denied],
    ['is for another channel', sign({ sub: 'ann', channel: 'private:2' }), denied],
    ['is for another user', sign({ sub: 'bob', channel: 'private:1' }), denied],
    ['is for no user', sign({ channel: 'private:1' }), denied],
    ['is the token of the connection', sign({ sub: 'ann' }), denied],
    [
      'has expired',
      sign({ sub: 'ann', channel: 'private:1', exp: 1 }),
      { error: { code: 109, message: 'token expired' } },
    ],
  ] as const)
    it(`is refused if it ${what}`, async t => {
      assert.deepEqual((await subscribing(t, token)).reply, expected)
    })

  it('is refused on a channel that needs none, if it is wrong', async t => {
    assert.deepEqual((await subscribing(t, 'x', 'chat:1')).reply, denied)
  })

  it('permits its channel, for the past too, until the client unsubscribes', async t => {
    const { raw, reply } = await subscribing(t, sign({ sub: 'ann', channel: 'private:1', exp: seconds() + 100 }))
    const { ttl, epoch, ...rest } = reply.subscribe as Record<string, unknown>
    assertTtl(ttl, 100)
    assert.deepEqual(rest, { expires: true, recoverable: true, positioned: true, offset: 0 })
    raw.send({ id: 3, history: { channel: 'private:1' } }, { id: 4, history: { channel: 'private:2' } })
    assert.deepEqual(await raw.reply(3), { history: { publications: [], epoch, offset: 0 } })
    assert.deepEqual(await raw.reply(4), denied)
    raw.send({ id: 5, unsubscribe: { channel: 'private:1' } }, { id: 6, history: { channel: 'private:1' } })
    assert.deepEqual(await raw.reply(6), denied)
  })

  const ends: readonly [
    what: string,
    options: object,
    expiresIn: number,
    end: (server: RunningServer, raw: Raw) => void,
  ][] = [
    ['its token expires', { jwtClockTolerance: 60 }, -22, () => {}],
    ['the operator ends it', {}, 100, server => server.unsubscribe({ sub: 'ann' }, 'private:1')],
    ['the client ends it', {}, 100, (_, raw) => raw.send({ id: 4, unsubscribe: { channel: 'private:1' } })],
  ]
  for (const [what, options, expiresIn, end] of ends)
    it(`ends the subscription of its members too, when ${what}`, async t => {
      const filters = ['jwt', 'streams', 'presence', 'centrifuge']
      const server = await start(t, { filters, presenceTopics: ['private:*'], ...options })
      const raw = await Raw.open(server.url)
      const members = '@presence/private:1'
      const exp = seconds() + expiresIn
      raw.send(
        { id: 1, connect: { token: sign({ sub: 'ann' }) } },
        { id: 2, subscribe: { channel: 'private:1', token: sign({ sub: 'ann', channel: 'private:1', exp }) } },
        { id: 3, subscribe: { channel: members } },
      )
      assert.ok(Object.hasOwn(Object(await raw.reply(3)), 'subscribe'))
      end(server, raw)
      const unsubscribe = { code: 2000, reason: 'permission denied' }
      const push = JSON.stringify({ push: { channel: members, unsubscribe } })
      await until(() => raw.messages.some(message => JSON.stringify(message) === push), 'the end of the members')
      const [client] = server.clients.values()
      assert.deepEqual([...client!.topics], [])
    })

  it('is refreshed for its own channel only', async t => {
    const { raw } = await subscribing(t, sign({ sub: 'ann', channel: 'private:1', exp: seconds() + 100 }))
    const token = (channel: string) => sign({ sub: 'ann', channel, exp: seconds() + 200 })
    raw.send(
      { id: 3, sub_refresh: { channel: 'private:1', token: token('private:1') } },
      { id: 4, sub_refresh: { channel: 'private:1', token: token('private:2') } },
      { id: 5, sub_refresh: { channel: 'private:2', token: token('private:2') } },
    )
    const { sub_refresh } = (await raw.reply(3)) as { sub_refresh: { ttl: number } }
    assertTtl(sub_refresh.ttl, 200)
    assert.deepEqual([await raw.reply(4), await raw.reply(5)], [denied, denied])
  })

  it('is fetched by centrifuge-js, again when it has expired', async t => {
    const server = await start(t)
    let asked = 0
    const getToken = async () => sign({ sub: 'ann', channel: 'private:1', exp: asked++ === 0 ? 1 : seconds() + 100 })
    const ann = page(t, server.url, 'private:1', { getToken, options: { token: sign({ sub: 'ann' }) } })
    await ann.sees('= subscribed')
    assert.deepEqual(ann.seen, ['error 109', '= subscribed'])
  })

  it('is needed in every protocol, and publishing needs none', async t => {
    const filters = ['jwt', 'streams', 'centrifuge', './test/support/filters/joining.ts']
    const server = await start(t, { filters, jwtFirstMessage: true })
    const peer = await Peer.open(server.url)
    peer.send(JSON.stringify({ auth: sign({ sub: 'ann' }) }))
    await peer.get(1)
    peer.send('private:1')
    peer.send('public')
    assert.deepEqual((await peer.get(3)).slice(1), ['not allowed to join "private:1"', 'joined public'])
  })

  it('cannot be demanded without a guard that checks it', async () => {
    await assert.rejects(createServer({ filters: ['centrifuge'], centrifugePrivate: ['a'], port: 0 }), {
      code: 'ERR_OPTION',
      message:
        'filter centrifuge: --centrifuge-private needs a guard that checks subscription tokens; put jwt before centrifuge in -f',
    })
  })
})
