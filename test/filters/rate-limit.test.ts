import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as rateLimit from '../../filters/rate-limit.ts'
import type { Client, Message } from '../../src/contract/client.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { fakeClient, setUp, type TestClient, testServer } from '../../src/testing/index.ts'

const NOW = Date.UTC(2026, 0, 1)

type Test = {
  after(fn: () => Promise<void>): void
  mock: {
    timers: {
      enable(options: { apis: 'Date'[]; now: number }): void
      tick(ms: number): void
      setTime(ms: number): void
    }
  }
}

/** A client behind the filter, with a mocked clock. */
async function limited(
  t: Test,
  options: Readonly<Record<string, unknown>>,
): Promise<{ peer: TestClient; passed: Payload[]; drops: Record<string, number>; later(ms: number): void }> {
  t.mock.timers.enable({ apis: ['Date'], now: NOW })
  const passed: Payload[] = []
  const server = await testServer(['rate-limit', { message: payload => void passed.push(payload) }], options)
  t.after(() => server.stop())
  return {
    peer: await server.connect(),
    passed,
    drops: server.server.counters.drops,
    later: ms => t.mock.timers.tick(ms),
  }
}

const WARNING = 'Warning: more than 2 messages or 1048576 bytes a second; slow down or be closed'

describe('rate-limit', () => {
  it('allows a burst of one second of messages', async t => {
    const { peer, passed, drops } = await limited(t, { 'rate-limit-messages': 2 })
    await peer.say('one')
    await peer.say('two')
    assert.deepEqual([passed, peer.received, drops['rate limit']], [['one', 'two'], [], undefined])
  })

  it('drops messages over the limit, and warns once', async t => {
    const { peer, passed, drops } = await limited(t, { 'rate-limit-messages': 2 })
    for (const payload of ['one', 'two', 'three', 'four', 'five']) await peer.say(payload)
    assert.deepEqual([passed, peer.received, drops['rate limit']], [['one', 'two'], [WARNING], 3])
    assert.equal(peer.closed, undefined)
  })

  for (const [form, options, received] of [
    ['text', {}, [WARNING]],
    ['text', { 'rate-limit-warning': 'text' }, [WARNING]],
    [
      'json',
      { 'rate-limit-warning': 'json' },
      ['{"error":"rate limit","message":"more than 2 messages or 1048576 bytes a second; slow down or be closed"}'],
    ],
    [
      'json',
      { 'rate-limit-warning': 'json', 'rate-limit-bytes': 5 },
      ['{"error":"rate limit","message":"more than 2 messages or 5 bytes a second; slow down or be closed"}'],
    ],
    ['none', { 'rate-limit-warning': 'none' }, []],
  ] as const) {
    it(`warns in the form ${form}, and closes after the grace period: ${JSON.stringify(options)}`, async t => {
      const { peer, drops, later } = await limited(t, { 'rate-limit-messages': 2, ...options })
      for (const payload of ['1', '2', '3', '4']) await peer.say(payload)
      assert.deepEqual([peer.received, drops['rate limit'], peer.closed], [received, 2, undefined])
      later(1001)
      for (const payload of ['5', '6', '7', '8']) await peer.say(payload)
      assert.deepEqual([peer.received, peer.closed], [received, { code: 1008, reason: 'rate limit' }])
    })
  }

  it('refuses another form of the warning', async () => {
    await assert.rejects(testServer(['rate-limit'], { 'rate-limit-warning': 'xml' }), {
      code: 'ERR_OPTION',
      message: 'option rate-limit-warning takes one of text, json, none, received "xml"',
    })
  })

  it('allows messages again as time passes', async t => {
    const { peer, passed, later } = await limited(t, { 'rate-limit-messages': 2 })
    for (const payload of ['1', '2', 'dropped']) await peer.say(payload)
    later(500)
    for (const payload of ['3', 'dropped']) await peer.say(payload)
    later(400)
    await peer.say('too early')
    later(100)
    await peer.say('4')
    later(60_000)
    for (const payload of ['5', '6', 'dropped']) await peer.say(payload)
    assert.deepEqual(passed, ['1', '2', '3', '4', '5', '6'])
  })

  it('closes a client over the limit with 1008 after the grace period', async t => {
    const { peer, later } = await limited(t, { 'rate-limit-messages': 1, 'rate-limit-grace': 3 })
    for (const payload of ['ok', 'warned']) await peer.say(payload)
    for (let i = 0; i < 30; i++) {
      later(100)
      await peer.say('flood')
    }
    assert.equal(peer.closed, undefined, 'within the grace period')
    later(1)
    await peer.say('flood')
    assert.deepEqual(peer.closed, { code: 1008, reason: 'rate limit' })
    assert.equal(peer.received.length, 1)
  })

  it('without a grace period, closes at the next message over the limit', async t => {
    const { peer, later } = await limited(t, { 'rate-limit-messages': 1, 'rate-limit-grace': 0 })
    for (const payload of ['ok', 'warned']) await peer.say(payload)
    later(1)
    await peer.say('flood')
    assert.equal(peer.closed?.code, 1008)
  })

  it('does not close a client that slows down after the warning', async t => {
    const { peer, passed, later } = await limited(t, { 'rate-limit-messages': 1 })
    for (const payload of ['ok', 'warned']) await peer.say(payload)
    for (let i = 0; i < 30; i++) {
      later(1000)
      await peer.say('slowly')
    }
    assert.deepEqual([passed.length, peer.received.length, peer.closed], [31, 1, undefined])
  })

  it('warns again after ten seconds within the limits', async t => {
    const { peer, later } = await limited(t, { 'rate-limit-messages': 2 })
    for (const payload of ['1', '2', 'warned']) await peer.say(payload)
    later(10_001)
    for (const payload of ['3', '4', 'warned again']) await peer.say(payload)
    assert.deepEqual([peer.received, peer.closed], [[WARNING, WARNING], undefined])
  })

  it('closes without another warning before ten seconds have passed', async t => {
    const { peer, later } = await limited(t, { 'rate-limit-messages': 2 })
    for (const payload of ['1', '2', 'warned']) await peer.say(payload)
    later(9_999)
    for (const payload of ['3', '4', 'closed']) await peer.say(payload)
    assert.equal(peer.closed?.code, 1008)
  })

  it('limits bytes too, counted as sent', async t => {
    const { peer, passed } = await limited(t, { 'rate-limit-bytes': 10 })
    for (const payload of ['ü'.repeat(4), 'abc', Buffer.from('ab'), 'c']) await peer.say(payload)
    assert.deepEqual(passed, ['ü'.repeat(4), Buffer.from('ab')])
    assert.deepEqual(peer.received, ['Warning: more than 100 messages or 10 bytes a second; slow down or be closed'])
  })

  it('a message larger than the bucket passes if the bucket is full, and delays later ones', async t => {
    const { peer, passed, later } = await limited(t, { 'rate-limit-bytes': 10, 'rate-limit-grace': 60 })
    const large = 'x'.repeat(35)
    await peer.say(large)
    assert.deepEqual(passed, [large])
    // The bucket is at -25 bytes: at 0 after 2.5 seconds, at 1 after 2.6.
    later(2500)
    await peer.say('y')
    later(100)
    await peer.say('z')
    later(999)
    await peer.say(large)
    later(1001)
    await peer.say(large)
    assert.deepEqual(passed, [large, 'z', large])
  })

  it('limits each client separately', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: NOW })
    const server = await testServer(['rate-limit', 'broadcast'], { 'rate-limit-messages': 1 })
    t.after(() => server.stop())
    const [one, two] = [await server.connect(), await server.connect()]
    await one.say('from one')
    await two.say('from two')
    assert.deepEqual([one.received, two.received], [['from two'], ['from one']])
  })

  it('a clock that is set back does not reduce limits', async t => {
    const { peer, passed } = await limited(t, { 'rate-limit-messages': 2 })
    await peer.say('before')
    t.mock.timers.setTime(NOW - 3_600_000)
    await peer.say('after')
    t.mock.timers.setTime(NOW - 3_600_000 + 1000)
    await peer.say('and on')
    assert.deepEqual([passed, peer.received], [['before', 'after', 'and on'], []])
  })

  it('is a guard', async () => {
    assert.equal(rateLimit.stage, 'guard')
    await assert.rejects(testServer(['broadcast', 'rate-limit']), {
      message: 'rate-limit is a guard and must stand before broadcast: -f rate-limit broadcast',
    })
  })

  it('refuses limits below 1', async () => {
    for (const [option, value] of [
      ['rate-limit-messages', 0],
      ['rate-limit-bytes', 0],
    ] as const) {
      await assert.rejects(testServer(['rate-limit'], { [option]: value }), {
        code: 'ERR_OPTION',
        message: `option ${option} takes a number of at least 1, received ${value}`,
      })
    }
    await assert.rejects(testServer(['rate-limit'], { 'rate-limit-grace': -1 }), {
      message: 'option rate-limit-grace takes a number of at least 0, received -1',
    })
  })

  it('passes by undefined, and drops with a reason', async () => {
    const [message] = [(await setUp(rateLimit as never, { 'rate-limit-messages': 1 })).message].flat()
    const client = fakeClient()
    const handle = message as (payload: Payload, client: Client, message: Message) => unknown
    const received = { payload: 'x', at: NOW }
    assert.equal(handle('x', client, received), undefined)
    assert.equal(handle('x', client, received), Symbol.for('filtered-websocket.drop'))
    assert.deepEqual(client.drops, ['rate limit'])
    assert.deepEqual(client.sent, ['Warning: more than 1 messages or 1048576 bytes a second; slow down or be closed'])
  })
})
