import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { pino } from 'pino'
import { createServer } from '../../../../src/index.ts'
import { launch, run } from '../../../support/cli.ts'
import { raw, serve as serveAll, until } from '../../../support/peer.ts'
import { API_KEY, type ApiCall, ask, call } from '../../../support/server-api.ts'
import { upgrade } from '../../../support/upgrade.ts'

const serve = (t: TestContext, options: object = {}) =>
  serveAll(t, { filters: ['centrifuge'], centrifugeApiKey: [API_KEY], ...options })

const refused = (code: number, message: string) => ({ error: { code, message } })
const METHODS = [
  'publish',
  'broadcast',
  'history',
  'history_remove',
  'presence',
  'presence_stats',
  'unsubscribe',
  'disconnect',
  'channels',
  'info',
  'batch',
] as const
const FIELDS = [
  'channel',
  'channels',
  'data',
  'b64data',
  'tags',
  'version',
  'skip_history',
  'idempotency_key',
  'limit',
  'since',
  'reverse',
  'user',
  'client',
  'session',
  'whitelist',
  'disconnect',
  'pattern',
  'parallel',
]
const NO_KEY = 'send the key as X-API-Key, or as Authorization: apikey KEY; a key in the URL is not accepted'

describe('the server API', () => {
  const publish = '{"channel":"a","data":1}'
  for (const [what, request, status, body] of [
    ['a key in X-API-Key', { path: '/api/publish', body: publish }, 200, { result: {} }],
    [
      'a key in Authorization',
      { path: '/api/publish', body: publish, headers: { Authorization: `apikey ${API_KEY}` } },
      200,
      { result: {} },
    ],
    ['a query', { path: '/api/publish?x=1', body: publish }, 200, { result: {} }],
    ['no body', { path: '/api/info?', body: '' }, 200, undefined],
    ['no key', { path: '/api/publish', body: publish, headers: {} }, 401, refused(401, NO_KEY)],
    ['an empty key', { path: '/api/publish', headers: { 'X-API-Key': '' } }, 401, refused(401, NO_KEY)],
    ['another key', { path: '/api/publish', headers: { 'X-API-Key': `${API_KEY}!` } }, 401, refused(401, NO_KEY)],
    ['the beginning of the key', { headers: { 'X-API-Key': API_KEY.slice(0, -1) } }, 401, refused(401, NO_KEY)],
    ['a bearer token', { headers: { Authorization: `Bearer ${API_KEY}` } }, 401, refused(401, NO_KEY)],
    [
      'the key in the URL',
      { path: `/api/publish?api_key=${API_KEY}`, body: publish, headers: {} },
      401,
      refused(401, NO_KEY),
    ],
    ['another HTTP method', { path: '/api/publish', method: 'GET' }, 405, refused(405, 'POST only')],
    ['an unknown method', { path: '/api/fly' }, 404, refused(404, 'unknown method "fly"')],
    ['a property of objects', { path: '/api/constructor' }, 404, refused(404, 'unknown method "constructor"')],
    ['a body that is not JSON', { path: '/api/publish', body: '{' }, 400, refused(400, 'the body is not JSON')],
    [
      'a body that is not UTF-8',
      { path: '/api/publish', body: Buffer.from([0x22, 0xff, 0x22]) },
      400,
      refused(400, 'the body is not UTF-8'),
    ],
    ['JSON of 101 levels', { path: '/api/publish', body: '['.repeat(101) }, 400, refused(400, 'the body is not JSON')],
    [
      'parameters that are no object',
      { path: '/api/publish', body: '[]' },
      200,
      refused(107, 'the parameters of a method are a JSON object'),
    ],
    [
      'a body that is too large',
      { path: '/api/publish', body: `{"channel":"a","data":"${'x'.repeat(1000)}"}` },
      413,
      refused(413, 'a request has at most 1000 bytes, see --max-payload'),
    ],
    [
      'lines that are no commands',
      { body: '{"publish":{}}' },
      400,
      refused(400, 'each line is {"method":NAME,"params":{}}'),
    ],
    ['no lines', { body: '\n' }, 400, refused(400, 'each line is {"method":NAME,"params":{}}')],
  ] as [string, ApiCall, number, unknown][]) {
    it(`answers ${what} with ${status}`, async t => {
      const { url } = await serve(t, { maxPayload: 1000 })
      const answer = await ask(url, request)
      assert.equal(answer.status, status)
      if (body !== undefined) assert.deepEqual(answer.body, body)
      assert.equal(answer.headers['content-type'], 'application/json')
    })
  }

  it('answers a body without a length that becomes too large before its end', async t => {
    const { url } = await serve(t, { maxPayload: 1000 })
    const head = `POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${API_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n`
    const { answer } = await raw(url, `${head}7d0\r\n${'x'.repeat(2000)}\r\n`)
    assert.match(await answer(), /^HTTP\/1.1 413 .*a request has at most 1000 bytes/s)
  })

  it('accepts each of several keys', async t => {
    const next = 'the-next-key-of-the-server'
    const { url } = await serve(t, { centrifugeApiKey: [API_KEY, next] })
    for (const key of [API_KEY, next]) {
      const { status } = await ask(url, { path: '/api/info', headers: { 'X-API-Key': key } })
      assert.equal(status, 200)
    }
  })

  it('runs commands in lines, as older SDKs send them', async t => {
    const { url } = await serve(t)
    const lines = ['publish', 'fly', 'presence_stats'].map(method =>
      JSON.stringify({ method, params: { channel: 'a', data: 1 } }),
    )
    const { body } = await ask(url, { body: `${lines.join('\n')}\n` })
    assert.deepEqual(
      String(body)
        .split('\n')
        .map(line => JSON.parse(line)),
      [
        { result: {} },
        refused(104, 'method not found'),
        refused(108, 'no presence of this channel; see -f presence and --presence-topics'),
      ],
    )
  })

  it('is not there without a key, and a WebSocket is refused', async t => {
    const without = await serveAll(t, { filters: ['centrifuge'] })
    assert.equal((await ask(without.url, { path: '/api/publish', body: publish })).status, 426)
    const { url } = await serve(t)
    for (const path of ['/api', '/api/publish']) assert.equal((await upgrade(url + path)).status, 405, path)
    assert.equal((await ask(url, { path: '/apix' })).status, 426)
  })

  it('needs no token, since it speaks as the server', async t => {
    const { url } = await serve(t, {
      filters: ['jwt', 'allow', 'centrifuge'],
      jwtSecret: 'x'.repeat(32),
      allowRules: ['anyone join nothing'],
    })
    assert.deepEqual(await call(url, 'publish', { channel: 'a', data: 1 }), { result: {} })
  })

  it('logs wrong keys once a minute, without the key, and closes their connections', async t => {
    const lines: string[] = []
    const server = await createServer({
      port: 0,
      filters: ['centrifuge'],
      centrifugeApiKey: [API_KEY],
      log: pino({}, { write: line => void lines.push(line) }),
    })
    t.after(() => server.close())
    const wrong = { path: '/api/publish', headers: { 'X-API-Key': 'this-is-the-wrong-key' } }
    for (let i = 0; i < 30; i++) assert.equal((await ask(server.url, wrong)).headers.connection, 'close')
    const warnings = lines.filter(line => line.includes('without a valid key'))
    // Two if a minute ends meanwhile.
    assert.ok(warnings.length >= 1 && warnings.length <= 2, `${warnings.length} lines`)
    assert.ok(!lines.some(line => line.includes('wrong-key')))
    assert.equal(server.counters.refusals[401], 30)
  })

  it('answers any JSON with a result or an error, and never fails', async t => {
    const lines: string[] = []
    const server = await createServer({
      port: 0,
      filters: ['streams', 'presence', 'centrifuge'],
      streamsRules: ['kept:* size=5 ttl=5m'],
      presenceTopics: ['room:*'],
      centrifugeApiKey: [API_KEY],
      log: pino({ level: 'warn' }, { write: line => void lines.push(line) }),
    })
    t.after(() => server.close())
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('kept:1', 'room:1', '@everyone', '@presence/room:1', -1, 2 ** 53),
    )
    const params = fc.record(Object.fromEntries(FIELDS.map(name => [name, value])), { requiredKeys: [] })
    const commands = fc.array(fc.record({ history: params, publish: params }, { requiredKeys: [] }), { maxLength: 3 })
    const request = fc.oneof(params, fc.jsonValue(), fc.record({ commands }))
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...METHODS), request, async (method, given) => {
        const { status, body } = await ask(server.url, { path: `/api/${method}`, body: JSON.stringify(given) })
        assert.equal(status, 200)
        const { result, replies, error } = body as { result?: object; replies?: unknown[]; error?: { code: number } }
        assert.ok(result ?? replies ?? (error !== undefined && error.code !== 100), JSON.stringify(body))
      }),
      { numRuns: 500 },
    )
    assert.deepEqual(lines, [])
  })

  it('logs nothing for a client that goes in the middle of its request', async t => {
    const lines: string[] = []
    const log = pino({ level: 'warn' }, { write: line => void lines.push(line) })
    const server = await createServer({ port: 0, filters: ['centrifuge'], centrifugeApiKey: [API_KEY], log })
    t.after(() => server.close())
    const { socket } = await raw(
      server.url,
      `POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${API_KEY}\r\nContent-Length: 100\r\n\r\n{`,
    )
    await until(() => server.counters.refusals[499] === undefined && socket.bytesWritten > 0)
    socket.destroy()
    assert.deepEqual(await call(server.url, 'publish', { channel: 'a', data: 1 }), { result: {} })
    assert.deepEqual(lines, [])
  })
})

describe('--centrifuge-api-key', () => {
  it('is refused if it is short, and not shown', async () => {
    for (const key of ['too-short', 'a key with spaces', `${'x'.repeat(20)}é`]) {
      const { code, stderr } = await run(['-p', '0', '-f', 'centrifuge', '--centrifuge-api-key', key])
      assert.equal(code, 2)
      assert.match(
        stderr,
        /a key of --centrifuge-api-key has 16 to 256 ASCII characters, without spaces, received one of \d+ characters/,
      )
      assert.ok(!stderr.includes(key))
    }
  })

  it('is read from a file, and not explained', async t => {
    const env = { FWS_CENTRIFUGE_API_KEY: `${API_KEY} another-key-of-the-test` }
    const { stdout } = await run(['-f', 'centrifuge', '--explain'], { env })
    assert.ok(!stdout.includes(API_KEY) && /centrifuge-api-key.*\*{8}/.test(stdout), stdout)
    const { url } = await launch(t, ['-p', '0', '-f', 'centrifuge'], { env })
    assert.deepEqual(await call(url, 'publish', { channel: 'a', data: 1 }), { result: {} })
  })
})
