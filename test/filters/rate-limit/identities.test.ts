import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { Client } from '../../../src/contract/client.ts'
import type { Payload } from '../../../src/contract/payload.ts'
import type { ServerOptions } from '../../../src/index.ts'
import { type Refused, type TestServer, testServer } from '../../../src/testing/index.ts'
import { folder } from '../../support/cli.ts'
import { ask, handshake } from '../../support/frames.ts'
import { becomes, Peer, serve } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { SECRET, sign } from '../../support/tokens.ts'

const NOW = Date.UTC(2026, 0, 1)

/** Sets the identity that a client sends, in the handshake or in a message. */
const trusting = {
  stage: 'guard' as const,
  connect: (client: Client) => {
    client.identity = client.handshake!.url.searchParams.get('me') || undefined
  },
  message: (payload: Payload, client: Client) => {
    const me = /^I am (.*)$/.exec(payload.toString())?.[1]
    if (me === undefined) return
    client.identity = me
    return client.drop()
  },
}

async function serverWith(
  t: TestContext,
  options: Readonly<Record<string, unknown>>,
  filters: NonNullable<ServerOptions['filters']> = [trusting, 'rate-limit', 'echo'],
): Promise<TestServer> {
  const server = await testServer(filters, { 'rate-limit-connects': 1000, ...options })
  t.after(() => server.stop())
  return server
}

const statusOf = (server: TestServer, me: string) =>
  server.connect({ url: `/?me=${me}` }).then(
    () => 101,
    (error: Refused) => error.status,
  )

describe('rate-limit-identity-messages and -bytes', () => {
  it('are shared by all clients of an identity only', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const server = await serverWith(t, { 'rate-limit-identity-messages': 3 })
    const [one, two] = [await server.connect({ url: '/?me=ann' }), await server.connect({ url: '/?me=ann' })]
    const bob = await server.connect({ url: '/?me=bob' })
    const anonymous = await server.connect()
    for (const peer of [one, two, one, two, one]) await peer.say('x')
    for (const peer of [bob, anonymous]) for (let i = 0; i < 3; i++) await peer.say('y')
    for (let i = 0; i < 3; i++) await anonymous.say('z')
    const warning = 'Warning: more than 3 messages a second from all your connections; slow down or be closed'
    assert.deepEqual(one.received, ['x', 'x', warning])
    assert.deepEqual(two.received, ['x', warning])
    assert.equal(bob.received.length, 3)
    assert.equal(anonymous.received.length, 6)
    assert.deepEqual({ ...server.server.counters.drops }, { 'identity rate limit': 2 })
    t.mock.timers.tick(334)
    await two.say('again')
    assert.equal(two.received.at(-1), 'again')
  })

  it('close a client over the limit with 1008 after the grace period', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const server = await serverWith(t, { 'rate-limit-identity-bytes': 10, 'rate-limit-grace': 1 })
    const [one, two] = [await server.connect({ url: '/?me=ann' }), await server.connect({ url: '/?me=ann' })]
    const large = 'x'.repeat(100)
    for (const peer of [one, one]) await peer.say(large)
    t.mock.timers.tick(1001)
    for (const peer of [one, two]) await peer.say('x')
    assert.deepEqual([one.closed, two.closed], [{ code: 1008, reason: 'rate limit' }, undefined])
    assert.match(String(two.received), /^Warning: more than 10 bytes a second from all your connections;/)
  })

  it('apply as soon as a client has an identity', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const server = await serverWith(t, { 'rate-limit-identity-messages': 1 }, ['rate-limit', trusting, 'echo'])
    const peer = await server.connect()
    for (const payload of ['1', '2', 'I am ann', '3', '4']) await peer.say(payload)
    assert.deepEqual(peer.received.slice(0, 3), ['1', '2', '3'])
    assert.match(String(peer.received[3]), /^Warning: /)
  })
})

describe('rate-limit-identity-connects', () => {
  it('refuses connects over the limit with 429, other identities connect', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const server = await serverWith(t, { 'rate-limit-identity-connects': 2 })
    const statuses = []
    for (const me of ['ann', 'ann', 'ann', 'bob', '']) statuses.push(await statusOf(server, me))
    assert.deepEqual(statuses, [101, 101, 429, 101, 101])
    t.mock.timers.tick(60_000)
    assert.equal(await statusOf(server, 'ann'), 101)
  })

  it('sends Retry-After with the refusal', async t => {
    const server = await serve(t, { filters: [trusting, 'rate-limit'], rateLimitIdentityConnects: 1 })
    const start = 'GET /?me=ann HTTP/1.1'
    await ask(server.url, handshake(server.url, {}, start))
    const answer = await ask(server.url, handshake(server.url, {}, start))
    assert.deepEqual([answer.status, answer.body], [429, 'too many connections of this identity\n'])
    assert.equal(answer.headers['retry-after'], '60')
  })

  it('closes with 4429 a client that gets its identity after this filter: when it opens, or at its next message', async t => {
    const server = await serve(t, { filters: ['rate-limit', trusting, 'echo'], rateLimitIdentityConnects: 1 })
    const first = await Peer.open(`${server.url}/?me=ann`)
    first.send('counted once')
    first.send('and no more')
    assert.equal((await first.get(2)).length, 2)
    const tooMany = { code: 4429, reason: 'too many connections of this identity' }
    const second = await Peer.open(`${server.url}/?me=ann`)
    assert.deepEqual(await second.end(), tooMany)
    const third = await Peer.open(server.url)
    third.send('I am ann')
    third.send('hello')
    assert.deepEqual(await third.end(), tooMany)
    assert.deepEqual(third.received, [])
    await becomes(() => ({ ...server.counters.closes }), { 4429: 2 })
  })

  it('counts a client after its first message authenticates it, even if it sends no more', async t => {
    const options = { 'jwt-secret': SECRET, 'jwt-first-message': true, 'rate-limit-identity-connects': 1 }
    const server = await testServer(['jwt', 'rate-limit', 'echo'], options)
    t.after(() => server.stop())
    const [first, second] = [await server.connect(), await server.connect()]
    for (const { say } of [first, second]) await say(JSON.stringify({ auth: sign({ sub: 'ann' }) }))
    assert.equal(first.closed, undefined)
    assert.equal(second.closed?.code, 4429)
  })

  it('refuses clients that the storage cannot count', async t => {
    const cwd = folder(t, {
      'store.mjs': `const values = { increment: async () => { throw new Error('away') } }
        export const open = () => ({ values })`,
    })
    const options = { 'rate-limit-identity-connects': 5, storage: `${cwd}/store.mjs` }
    const server = await serverWith(t, options)
    assert.deepEqual([await statusOf(server, 'ann')], [503])
    const late = await server.connect()
    for (const payload of ['I am ann', 'hello']) await late.say(payload)
    assert.deepEqual([late.received, late.closed], [[], { code: 1013, reason: 'try again later' }])
  })

  it('needs a storage with values, only if the option is set', async t => {
    const storage = `${folder(t, { 'store.mjs': 'export const open = () => ({ sets: {} })' })}/store.mjs`
    await assert.rejects(testServer(['rate-limit'], { storage, 'rate-limit-identity-connects': 1 }), {
      code: 'ERR_OPTION',
      message: 'filter rate-limit: --rate-limit-identity-connects needs a storage with "values", such as memory',
    })
    await (await testServer(['rate-limit'], { storage })).stop()
  })
})

describe('rate-limit-identity-connects on several nodes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('counts across nodes, atomically', async t => {
    const options = { storage: 'redis', redisUrl: redis.url, rateLimitIdentityConnects: 7, rateLimitConnects: 1000 }
    const nodes = [0, 1].map(() => serve(t, { filters: [trusting, 'rate-limit'], ...options }))
    const urls = (await Promise.all(nodes)).map(({ url }) => url)
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => ask(urls[i % 2]!, handshake(urls[i % 2]!, {}, 'GET /?me=ann HTTP/1.1'))),
    )
    assert.equal(answers.filter(({ status }) => status === 101).length, 7)
    assert.equal(answers.filter(({ status }) => status === 429).length, 33)
  })
})
