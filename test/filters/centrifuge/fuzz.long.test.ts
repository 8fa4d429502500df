import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { testServer } from '../../../src/testing/index.ts'

const METHODS = [
  'subscribe',
  'unsubscribe',
  'publish',
  'history',
  'presence',
  'presence_stats',
  'rpc',
  'refresh',
  'sub_refresh',
  'fly',
]
const FIELDS = [
  'channel',
  'recover',
  'offset',
  'epoch',
  'flag',
  'type',
  'token',
  'data',
  'limit',
  'since',
  'reverse',
  'join_leave',
  'method',
]

const value = fc.oneof(
  fc.constantFrom(
    'chat:1',
    'chat:2',
    '@presence/chat:1',
    '@everyone',
    '',
    '_',
    true,
    false,
    null,
    0,
    1,
    2,
    3,
    -1,
    1e308,
    0.5,
  ),
  fc.jsonValue({ maxDepth: 2 }),
)
const request = fc.oneof(
  { weight: 9, arbitrary: fc.dictionary(fc.constantFrom(...FIELDS), value, { maxKeys: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom([], {}) },
)
const commands = fc.array(fc.tuple(fc.constantFrom(...METHODS), request), { minLength: 1, maxLength: 20 })

describe('any commands', () => {
  it('are all answered once, and nothing is logged', async () => {
    const server = await testServer(['streams', 'presence', 'centrifuge'], {
      'streams-rules': ['chat:* size=20 ttl=5m'],
      'presence-topics': ['chat:*'],
      'presence-grace': 0,
      'centrifuge-publish': true,
      'centrifuge-ping': 0,
    })
    await fc.assert(
      fc.asyncProperty(commands, async given => {
        const client = await server.connect({ url: '/connection/websocket' })
        await client.say('{"id":1,"connect":{}}')
        await client.say(
          given.map(([method, request], i) => JSON.stringify({ id: i + 2, [method]: request })).join('\n'),
        )
        const replies = client.received
          .flatMap(frame =>
            String(frame)
              .split('\n')
              .map(line => JSON.parse(line)),
          )
          .filter(({ id }) => id !== undefined)
        assert.deepEqual(
          replies.map(({ id }) => id).sort((a, b) => a - b),
          Array.from({ length: given.length + 1 }, (_, i) => i + 1),
        )
        for (const { error } of replies)
          assert.ok(error === undefined || (error.code > 100 && error.code <= 112), JSON.stringify(error))
        assert.equal(client.closed, undefined)
        await client.leave()
      }),
      { numRuns: Number(process.env.RUNS ?? 2000), endOnFailure: true },
    )
    assert.deepEqual(
      server.logged.filter(({ level }) => Number(level) >= 40),
      [],
    )
    assert.equal(server.server.counters.errors, 0)
    await server.stop()
  })

  it('that break the protocol close the client with 3501, and nothing else', async () => {
    const server = await testServer(['centrifuge'], { 'centrifuge-ping': 0 })
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json(), fc.uint8Array({ minLength: 1 })), async frame => {
        const client = await server.connect({ url: '/connection/websocket' })
        await client.say(typeof frame === 'string' ? frame : Buffer.from(frame))
        const isPong = typeof frame === 'string' && frame.split('\n').every(line => line === '' || line === '{}')
        assert.equal(client.closed?.code, isPong ? undefined : 3501)
        await client.leave()
      }),
      { numRuns: Number(process.env.RUNS ?? 2000) },
    )
    assert.equal(server.server.counters.errors, 0)
    await server.stop()
  })
})
