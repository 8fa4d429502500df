import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Payload } from '../../src/contract/payload.ts'
import { type FilterModule, FwsError } from '../../src/index.ts'
import { fakeClient, testServer } from '../../src/testing/index.ts'
import { folder, launch, refusalInside } from '../support/cli.ts'

type Test = Parameters<typeof folder>[0]

/** A client behind the filter; `seen` has the views of the messages that passed. */
async function behind(t: Test, schema?: unknown, options: Readonly<Record<string, unknown>> = {}) {
  const seen: unknown[] = []
  const spy: FilterModule = { message: (_, __, { json }) => void seen.push(json) }
  const own =
    schema === undefined ? {} : { 'json-schema': join(folder(t, { 's.json': JSON.stringify(schema) }), 's.json') }
  const server = await testServer(['json', spy, 'echo'], { ...own, ...options })
  t.after(() => server.stop())
  return { peer: await server.connect(), seen, drops: server.server.counters.drops }
}

const answers = (received: readonly Payload[]) => received.map(text => JSON.parse(String(text)))

describe('json', () => {
  for (const text of ['{"a":[1,"é"]}', '[]', '"text"', '5', 'null', 'true', ' {"a" : 1} ']) {
    it(`parses ${text}, and passes it unchanged`, async t => {
      const { peer, seen } = await behind(t)
      await peer.say(text)
      assert.deepEqual([seen, peer.received], [[JSON.parse(text)], [text]])
    })
  }

  for (const text of ['hello', '', ' ', "{'a': 1}", '{"a": 1,}', '[1', 'NaN', 'undefined', '{"a":1} x', '\uFEFF{}']) {
    it(`answers ${JSON.stringify(text)} with an error, and drops it`, async t => {
      const { peer, seen, drops } = await behind(t)
      await peer.say(text)
      const [{ error, message }] = answers(peer.received)
      assert.deepEqual([error, typeof message, seen, drops['not JSON']], ['not JSON', 'string', [], 1])
      await peer.say('{}')
      assert.deepEqual(seen, [{}])
    })
  }

  it('refuses a binary message, even one that holds JSON', async t => {
    const { peer, seen } = await behind(t)
    await peer.say(Buffer.from('{}'))
    assert.deepEqual(
      [answers(peer.received), seen],
      [[{ error: 'not JSON', message: 'binary message; send JSON as text' }], []],
    )
  })

  for (const [what, text, reason] of [
    ['101 levels', '['.repeat(101) + ']'.repeat(101), 'JSON has at most 100 levels, received more'],
    ['100,001 elements', `[${'1,'.repeat(100_000)}1]`, 'JSON has at most 100000 elements, received more'],
  ] as const) {
    it(`closes a client that sends ${what} with 1009`, async t => {
      const { peer, seen } = await behind(t)
      await peer.say(text)
      assert.deepEqual([peer.closed, seen], [{ code: 1009, reason }, []])
    })
  }

  it('keeps __proto__ a plain key', async t => {
    const { peer, seen } = await behind(t)
    await peer.say('{"__proto__":{"admin":true}}')
    assert.equal((seen[0] as { admin?: boolean }).admin, undefined)
    assert.deepEqual(Object.keys(seen[0] as object), ['__proto__'])
  })

  it('gives JSON to a filter over a socket', async t => {
    const cwd = folder(t, {
      'sum.js': 'export const message = (_, client, { json }) => client.sendJson({ sum: json.a + json.b })',
    })
    const server = await launch(t, ['-p', '0', '-f', 'json', './sum.js'], { cwd })
    const peer = await server.connect()
    peer.send('{"a":1,"b":2}')
    peer.send('oops')
    const [sum, problem] = answers(await peer.get(2))
    assert.deepEqual([sum, problem.error], [{ sum: 3 }, 'not JSON'])
  })
})

const CHAT = {
  type: 'object',
  properties: {
    kind: { enum: ['say', 'join'] },
    text: { type: 'string', maxLength: 5 },
    at: { type: 'array', prefixItems: [{ type: 'number' }], items: false },
  },
  required: ['kind'],
  additionalProperties: false,
}

describe('json with a schema', () => {
  for (const [text, problem] of [
    ['{"kind":"say","text":"hi"}', undefined],
    ['{"kind":"join","at":[1]}', undefined],
    ['{}', "message must have required property 'kind'"],
    ['{"kind":"leave"}', 'message/kind must be equal to one of the allowed values'],
    ['{"kind":"say","text":5}', 'message/text must be string'],
    ['{"kind":"say","text":"longer"}', 'message/text must NOT have more than 5 characters'],
    ['{"kind":"say","__proto__":1}', 'message must NOT have additional properties'],
    ['{"kind":"say","at":[1,2]}', 'message/at must NOT have more than 1 items'],
    ['[]', 'message must be object'],
    ['null', 'message must be object'],
  ] as const) {
    it(`${problem === undefined ? 'passes' : 'refuses'} ${text}`, async t => {
      const { peer, seen, drops } = await behind(t, CHAT)
      await peer.say(text)
      if (problem === undefined) assert.deepEqual(seen, [JSON.parse(text)])
      else {
        assert.deepEqual(answers(peer.received), [{ error: 'invalid JSON', message: problem }])
        assert.deepEqual([seen, drops['invalid JSON']], [[], 1])
      }
    })
  }

  it('reads draft-07 by its $schema', async t => {
    const schema = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'array',
      items: [{ type: 'number' }],
      minItems: 1,
      additionalItems: false,
    }
    const { peer, seen } = await behind(t, schema)
    await peer.say('[1]')
    await peer.say('["a"]')
    assert.deepEqual(
      [seen, answers(peer.received.slice(1))],
      [[[1]], [{ error: 'invalid JSON', message: 'message/0 must be number' }]],
    )
  })

  it('answers with at most 300 characters of a problem', async t => {
    const { peer } = await behind(t, { type: 'object', additionalProperties: { type: 'number' } })
    await peer.say(JSON.stringify({ ['x'.repeat(1000)]: 'a' }))
    assert.equal(answers(peer.received)[0].message.length, 300)
  })

  for (const [what, text, problem] of [
    ['is missing', undefined, /ENOENT/],
    ['is not JSON', '{ type: object }', /JSON/],
    ['is null', 'null', /a schema is an object or a boolean, received null$/],
    ['is an array', '[]', /schema is invalid: data must be object,boolean$/],
    ['has an unknown keyword', '{ "requird": ["a"] }', /unknown keyword: "requird"/],
    ['has an unknown type', '{ "type": "strng" }', /schema is invalid/],
    ['has a format that is not checked', '{ "type": "string", "format": "email" }', /unknown format "email"/],
    ['refers to another file', '{ "$ref": "http://x.example/s.json" }', /can't resolve reference/],
    [
      'is asynchronous, which would pass all messages',
      '{ "$async": true, "type": "object" }',
      /"\$async" is not supported$/,
    ],
    ['is of an unknown draft', '{ "$schema": "http://json-schema.org/draft-03/schema" }', /no schema with key or ref/],
  ] as const) {
    it(`refuses to start with a schema that ${what}`, async t => {
      const cwd = folder(t, text === undefined ? {} : { 's.json': text })
      const sentence = await refusalInside(['-p', '0', '-f', 'json', 'echo', '--json-schema', 's.json'], cwd)
      assert.match(sentence, problem)
      assert.ok(sentence.startsWith(`filter json: --json-schema ${join(cwd, 's.json')}: `), sentence)
    })
  }

  it('may differ between places', async t => {
    const cwd = folder(t, {
      'my.json': '{ "filters": [["json", { "schema": "s.json" }], "echo"], "port": 0 }',
      's.json': '{ "type": "number" }',
    })
    const server = await launch(t, ['-c', 'my.json'], { cwd })
    const peer = await server.connect()
    peer.send('"a"')
    peer.send('5')
    assert.deepEqual(answers(await peer.get(2)), [{ error: 'invalid JSON', message: 'message must be number' }, 5])
  })
})

describe('client.sendJson', () => {
  for (const [value, text] of [
    [{ a: [1, 'é'] }, '{"a":[1,"é"]}'],
    [null, 'null'],
    ['text', '"text"'],
    [5, '5'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [{ a: undefined }, '{}'],
    [Number.NaN, 'null'],
  ] as const) {
    it(`sends ${text}`, async t => {
      const fake = fakeClient()
      fake.sendJson(value)
      const server = await testServer([{ message: (_, client) => client.sendJson(value) }])
      t.after(() => server.stop())
      const peer = await server.connect()
      await peer.say('?')
      assert.deepEqual([fake.sent, peer.received], [[text], [text]])
    })
  }

  const circular: Record<string, unknown> = {}
  circular.self = circular
  for (const [what, value, received] of [
    ['undefined', undefined, 'undefined'],
    ['a function', () => {}, 'function'],
    ['a symbol', Symbol('s'), 'symbol'],
    ['a BigInt', 5n, 'Do not know how to serialize a BigInt'],
    ['a circular object', circular, 'Converting circular structure to JSON'],
    ['an object whose toJSON throws', { toJSON: () => assert.fail('no') }, 'no'],
  ] as const) {
    it(`refuses ${what}`, () => {
      const client = fakeClient()
      assert.throws(
        () => client.sendJson(value),
        new FwsError('ERR_PAYLOAD', `sendJson takes a value that JSON can represent, received ${received}`),
      )
      assert.deepEqual(client.sent, [])
    })
  }
})
