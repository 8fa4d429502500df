import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { WslinkApi } from '../../../filters/wslink.ts'
import type { Client } from '../../../src/contract/client.ts'
import type { FilterModule } from '../../../src/contract/filter.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { SECRET, sign } from '../../support/tokens.ts'
import { building, Client2, hello, official, opened } from '../../support/wslink.ts'

const RULES = [
  'role=all join wslink',
  'role=all join wslink/*',
  'can=a join wslink/a',
  'can=b join wslink/b',
  'can=c join wslink/c',
  'can=news join wslink/news.*',
  'user join wslink/own.{sub}',
]
const TOPICS = ['a', 'b', 'c', 'news.local', 'own.ann']

let tokens = 0
/** Signs a token that differs from others. */
const token = (claims: object, sub = 'ann') => sign({ sub, jti: `${++tokens}`, ...claims })

async function node(t: TestContext, options: object = {}, on: (wslink: WslinkApi) => void = () => {}) {
  let api: WslinkApi | undefined
  const publishing = building(wslink => {
    api = wslink
    on(wslink)
  })
  const server = await serve(t, {
    filters: ['jwt', 'allow', 'wslink', publishing],
    allowRules: RULES,
    jwtSecret: SECRET,
    jwtQuery: true,
    ...options,
  })
  const at = (claims: object) => `${server.url}/?token=${token(claims)}`
  return { server, at, enter: (claims: object) => Client2.enter(at(claims)), publish: api!.publish }
}

/** The result of a call, or the message of its error. */
async function outcome(client: Client2, method: string, ...args: unknown[]): Promise<unknown> {
  const id = client.call(method, args)
  const answer = () => client.messages.find(message => message.id === id)
  await until(() => answer() !== undefined, `an answer to ${method}`)
  const { result, error } = answer()
  return error?.data.exception ?? result
}

const renew = async (client: Client2, claims: object, sub = 'ann') =>
  outcome(client, 'wslink.renew', token(claims, sub))
const subscribe = (client: Client2, topic: string) => outcome(client, 'wslink.subscribe', topic)
const unsubscribe = (client: Client2, topic: string) => outcome(client, 'wslink.unsubscribe', topic)

/** The topics that a client gets when all are published. */
async function receivedTopics({ publish }: { publish: WslinkApi['publish'] }, client: Client2): Promise<string[]> {
  const from = client.messages.length
  for (const topic of TOPICS) publish(topic, 'news')
  // The reply follows all earlier publishes.
  await outcome(client, 'wslink.unsubscribe', 'none')
  return client.messages.slice(from).flatMap(({ id }) => (id.startsWith('publish:') ? [id.split(':')[1]] : []))
}

describe('wslink: a token with fewer rights', () => {
  for (const { name, rights, keeps } of [
    { name: 'none at all', rights: {}, keeps: ['own.ann'] },
    { name: 'one of three', rights: { can: ['b'] }, keeps: ['b', 'own.ann'] },
    { name: 'two of three', rights: { can: ['a', 'c'] }, keeps: ['a', 'c', 'own.ann'] },
    { name: 'a pattern', rights: { can: ['news'] }, keeps: ['news.local', 'own.ann'] },
    { name: 'the same', rights: { can: ['a', 'b', 'c', 'news'] }, keeps: TOPICS },
    { name: 'more', rights: { role: 'all' }, keeps: TOPICS },
  ]) {
    it(`removes a client from the topics that it may no longer join: ${name}`, async t => {
      const one = await node(t)
      const client = await one.enter({ can: ['a', 'b', 'c', 'news'] })
      for (const topic of TOPICS) assert.equal(await subscribe(client, topic), true)
      assert.deepEqual(await receivedTopics(one, client), TOPICS)
      const { auth, expires } = (await renew(client, rights)) as { auth: string; expires: number }
      assert.deepEqual([auth, Number.isInteger(expires)], ['ok', true])
      assert.deepEqual(await receivedTopics(one, client), keeps)
      for (const topic of TOPICS) {
        const isKept = keeps.includes(topic)
        assert.equal(await unsubscribe(client, topic), isKept, `unsubscribe ${topic}`)
        assert.equal(await subscribe(client, topic), isKept ? true : `not allowed to listen to ${topic}`)
      }
      assert.deepEqual((await receivedTopics(one, client)).toSorted(), keeps)
      assert.equal(one.server.counters.errors, 0)
    })
  }
  it('and more rights later allows subscribing again, without joining by itself', async t => {
    const one = await node(t)
    const client = await one.enter({ can: ['a', 'b'] })
    await subscribe(client, 'a')
    await subscribe(client, 'b')
    await renew(client, { can: 'b' })
    await renew(client, { can: ['a', 'b'] })
    assert.deepEqual(await receivedTopics(one, client), ['b'])
    assert.equal(await subscribe(client, 'a'), true)
    assert.deepEqual(await receivedTopics(one, client), ['a', 'b'])
  })
  it('stops the publishes of a client without subscriptions until it is allowed again', async t => {
    const one = await node(t)
    const client = await one.enter({ role: 'all' })
    assert.deepEqual(await receivedTopics(one, client), TOPICS)
    await renew(client, { role: 'none' })
    assert.deepEqual(await receivedTopics(one, client), [])
    await renew(client, { role: 'all' })
    assert.deepEqual(await receivedTopics(one, client), TOPICS)
  })
  it('stops broadcasts of other filters on --wslink-topic too', async t => {
    const one = await node(t, { wslinkTopic: 'a' })
    const client = await one.enter({ can: ['a', 'b'] })
    await subscribe(client, 'a')
    await subscribe(client, 'b')
    one.server.broadcast('allowed')
    await renew(client, { can: 'b' })
    one.server.broadcast('not allowed')
    await unsubscribe(client, 'none')
    const texts = client.messages.filter(({ id }) => id.startsWith('publish:')).map(({ result }) => result)
    assert.deepEqual(texts, ['allowed'])
  })
  it('does not count lost topics towards the limit of 256', async t => {
    const one = await node(t, { allowRules: ['role=all join wslink/*', 'user join wslink/b.*'] })
    const client = await one.enter({ role: 'all' })
    for (let i = 0; i < 256; i++) client.call('wslink.subscribe', [`t${i}`])
    assert.equal(await subscribe(client, 'b.1'), 'a client can subscribe to at most 256 topics')
    await renew(client, {})
    assert.equal(await subscribe(client, 'b.1'), true)
  })
  it('refuses a subscription with a pending hook', async t => {
    let release = () => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    const one = await node(t, {}, wslink => wslink.onSubscribe(() => released))
    const client = await one.enter({ can: ['a', 'b'] })
    const pending = [subscribe(client, 'a'), subscribe(client, 'b')]
    await until(() => [...one.server.clients.values()][0]!.topics.size === 2)
    await renew(client, { can: 'b' })
    release()
    assert.deepEqual(await Promise.all(pending), ['not allowed to listen to a', true])
    assert.deepEqual(await receivedTopics(one, client), ['b'])
  })
  it('applies to later messages sent without waiting', async t => {
    const one = await node(t)
    const client = await one.enter({ can: ['a', 'b'] })
    const answers = [renew(client, { can: 'b' }), subscribe(client, 'a'), subscribe(client, 'b')]
    const [, ...subscribed] = await Promise.all(answers)
    assert.deepEqual(subscribed, ['not allowed to listen to a', true])
  })
})

describe('wslink: a refused hook of a subscription', () => {
  it('affects only that subscription, also if the client unsubscribes meanwhile', async t => {
    let refuse = () => {}
    const refused = new Promise<void>((_, reject) => {
      refuse = () => reject(new Error('no'))
    })
    refused.catch(() => {})
    const one = await node(t, {}, wslink => wslink.onSubscribe(topic => (topic === 'a' ? refused : undefined)))
    const client = await one.enter({ can: ['a', 'b'] })
    const pending = subscribe(client, 'a')
    await subscribe(client, 'b')
    assert.equal(await unsubscribe(client, 'a'), true)
    refuse()
    assert.equal(await pending, 'no')
    assert.deepEqual(await receivedTopics(one, client), ['b'])
  })
})

describe('wslink: a refresh', () => {
  it('is refused with the reason of jwt, without changes', async t => {
    const one = await node(t)
    const client = await one.enter({ can: 'a' })
    await subscribe(client, 'a')
    for (const [bad, reason] of [
      [sign({ sub: 'ann', exp: 1 }), 'expired'],
      [sign({ sub: 'ann' }, { key: 'x'.repeat(32) }), 'bad signature'],
      ['', 'malformed'],
      [5, 'malformed'],
      [undefined, 'malformed'],
      ['x'.repeat(20_000), 'too long'],
    ] as const)
      assert.equal(await outcome(client, 'wslink.renew', bad), `token refused: ${reason}`)
    assert.deepEqual(await receivedTopics(one, client), ['a'])
  })
  it('with another subject closes 4401', async t => {
    const one = await node(t)
    const client = await one.enter({ can: 'a' })
    client.call('wslink.renew', [token({ can: 'a' }, 'bob')])
    assert.deepEqual(await client.peer.end(), { code: 4401, reason: 'another subject' })
  })
  it('with a revoked token closes 4401', async t => {
    let jwt: { revoke(which: { jti: string }): Promise<void> } | undefined
    const ban: FilterModule = {
      uses: ['jwt'],
      setup: host => {
        jwt = host.use('jwt' as never)
      },
    }
    const server = await serve(t, {
      filters: ['jwt', 'allow', ban, 'wslink'],
      allowRules: RULES,
      jwtSecret: SECRET,
      jwtQuery: true,
    })
    const client = await Client2.enter(`${server.url}/?token=${token({ can: 'a' })}`)
    const stolen = sign({ sub: 'ann', jti: 'stolen' })
    await jwt!.revoke({ jti: 'stolen' })
    client.call('wslink.renew', [stolen])
    assert.deepEqual(await client.peer.end(), { code: 4401, reason: 'revoked' })
  })
  it('by a message of jwt is confirmed on the topic wslink.notice, in both versions', async t => {
    const one = await node(t)
    const client = await one.enter({ can: ['a'] })
    const exp = Math.floor(Date.now() / 1000) + 600
    client.peer.send(JSON.stringify({ auth: sign({ sub: 'ann', exp }) }))
    client.peer.send(JSON.stringify({ auth: 'x' }))
    await client.peer.get(3)
    assert.deepEqual(
      client.messages.slice(1).map(({ id, result }) => [id, JSON.parse(result)]),
      [
        ['publish:wslink.notice:0', { auth: 'ok', expires: exp }],
        ['publish:wslink.notice:0', { auth: 'error', reason: 'malformed' }],
      ],
    )
    const first = await Peer.open(one.at({ can: ['a'] }))
    first.send(JSON.stringify(hello()))
    first.send(JSON.stringify({ auth: 'x' }))
    const [, notice] = await first.get(2)
    const { id, result } = JSON.parse(String(notice))
    assert.deepEqual([id, JSON.parse(result)], ['publish:wslink.notice:0', { auth: 'error', reason: 'malformed' }])
  })
  it('shares its topic with the warnings of rate-limit', async t => {
    const server = await serve(t, { filters: ['rate-limit', 'wslink'], wslinkOpen: true, rateLimitMessages: 5 })
    const client = await Client2.enter(server.url)
    for (let i = 0; i < 20; i++) client.call('wslink.unsubscribe', ['a'])
    const notice = () => client.messages.find(({ id }) => id === 'publish:wslink.notice:0')
    await until(() => notice() !== undefined)
    assert.match(notice().result, /^Warning: more than 5 messages or 1048576 bytes a second; slow down or be closed$/)
  })
  it('of a server without tokens is an unregistered method', async t => {
    const server = await serve(t, { filters: ['wslink'], wslinkOpen: true })
    const client = await Client2.enter(server.url)
    const id = client.call('wslink.renew', ['x'])
    await client.peer.get(2)
    assert.equal(
      opened(client.peer.received).find(message => message.id === id).error.message,
      'Unregistered method called',
    )
  })
  for (const generation of ['wslink', 'wslink-1'] as const) {
    it(`is a call that official clients can make: ${generation}`, async t => {
      const one = await node(t)
      const exp = Math.floor(Date.now() / 1000) + 600
      const program = `
        const { connection } = await enter()
        const session = connection.getSession()
        const notices = []
        session.subscribe('wslink.notice', ([text]) => notices.push(text))
        await session.call('wslink.subscribe', ['a'])
        const renewed = await session.call('wslink.renew', ['${sign({ sub: 'ann', exp })}'])
        const refused = await session.call('wslink.renew', ['x']).catch(error => error.data.exception)
        return [renewed, refused, await session.call('wslink.unsubscribe', ['a']), notices]`
      const answered = await official(generation, one.at({ can: 'a' }), program)
      assert.deepEqual(answered, [{ auth: 'ok', expires: exp }, 'token refused: malformed', false, []])
    })
  }
})

describe('wslink: another hello that changes the identity', () => {
  it('leaves the topics that the new identity may not join', async t => {
    const one = await serve(t, {
      filters: ['allow', 'wslink', building(wslink => wslink.validate(secret => String(secret)))],
      allowRules: ['user join wslink/own.{sub}'],
    })
    const client = new Client2(await Peer.open(one.url))
    client.send(hello('ann'))
    await client.peer.get(1)
    assert.equal(await subscribe(client, 'own.ann'), true)
    client.send(hello('bob'))
    await until(() => [...one.clients.values()][0]!.identity === 'bob')
    assert.equal(await unsubscribe(client, 'own.ann'), false)
    assert.equal(await subscribe(client, 'own.bob'), true)
  })
})

describe('client.recheck', () => {
  it('works for any guard that changes rights, and any protocol', async t => {
    const allowed = new Set(['x', 'y', 'wslink', 'wslink/a'])
    const guard: FilterModule = { permit: ({ topic }) => allowed.has(topic!), stage: 'guard' }
    const seen: string[][] = []
    const watch: FilterModule = {
      open: client => {
        client.onIdentity(see)
      },
    }
    const see = (client: Client) => void seen.push([...client.topics])
    const server = await serve(t, { filters: [guard, watch, 'echo'] })
    await Peer.open(server.url)
    await until(() => server.clients.size === 1)
    const [client] = [...server.clients.values()]
    for (const topic of ['x', 'y']) client!.join(topic)
    client!.recheck()
    allowed.delete('x')
    client!.recheck()
    allowed.clear()
    client!.recheck()
    assert.deepEqual(seen, [['x', 'y'], ['y'], []])
  })
})

describe('wslink: a token with fewer rights, on two nodes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('stops publishes of the other node', async t => {
    const at = { storage: 'redis', redisPort: redis.port }
    const [here, there] = [await node(t, at), await node(t, at)]
    const client = await here.enter({ can: ['a', 'b'] })
    await subscribe(client, 'a')
    await subscribe(client, 'b')
    const got = () => client.messages.flatMap(({ id, result }) => (id.startsWith('publish:') ? [result] : []))
    await until(() => {
      there.publish('a', 'a before')
      return got().includes('a before')
    })
    await renew(client, { can: 'b' })
    const before = got().length
    there.publish('a', 'a after')
    await until(() => {
      there.publish('b', 'b after')
      return got().includes('b after')
    })
    assert.deepEqual(new Set(got().slice(before)), new Set(['b after']))
  })
})
