import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { handshakeToken } from '../../filters/jwt/handshake-token.ts'
import { secretSource } from '../../filters/jwt/keys.ts'
import { isAuth, tokenIn } from '../../filters/jwt/message.ts'
import type { JwtOptions } from '../../filters/jwt/options.ts'
import { Refused } from '../../filters/jwt/refusal.ts'
import { verifierOf } from '../../filters/jwt/verify.ts'
import type { JwtApi } from '../../filters/jwt.ts'
import type { Client, Server } from '../../src/contract/client.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import type { Handshake } from '../../src/contract/peer.ts'
import type { Transport } from '../../src/contract/transport.ts'
import { type Caller, type TestClient, testServer } from '../../src/testing/index.ts'
import { folder, launch } from '../support/cli.ts'
import { cheap } from '../support/cpu.ts'
import { ec, forgeSigned, rsa, SECRET, sign } from '../support/tokens.ts'
import { upgrade } from '../support/upgrade.ts'

type Filters = Parameters<typeof testServer>[0]

const now = () => Math.floor(Date.now() / 1000)

/** A chain of jwt and echo, with the api of jwt. */
async function serve(t: TestContext, options: object = {}, filters: Filters = ['echo']) {
  let api: JwtApi | undefined
  const user: FilterModule = {
    uses: ['jwt'],
    setup: (host: Host) => {
      api = host.use('jwt')
    },
  }
  const made = await testServer(['jwt', user, ...filters], { 'jwt-secret': SECRET, ...options })
  t.after(() => made.stop())
  return { ...made, revoke: (...given: Parameters<JwtApi['revoke']>) => api!.revoke(...given) }
}

const by = (token: string): Caller => ({ headers: { authorization: `Bearer ${token}` } })
const auth = (token: string) => JSON.stringify({ auth: token })
const ending = ({ closed }: TestClient) => closed
const parsed = ({ received }: TestClient) => received.map(payload => JSON.parse(String(payload)))

describe('jwt: a client with a token', () => {
  it('has the identity and claims of its token', async t => {
    const { connect } = await serve(t)
    const { client } = await connect(by(sign({ sub: 'ann', role: 'admin' })))
    assert.equal(client.identity, 'ann')
    assert.equal(client.state.user?.role, 'admin')
    assert.equal((await connect(by(sign({ role: 'guest' })))).client.identity, undefined)
  })

  it('is refused with a challenge if it is missing', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env: { FWS_JWT_SECRET: SECRET } })
    const { status, headers, body } = await upgrade(server.url)
    assert.deepEqual([status, body], [401, 'no token\n'])
    assert.equal(headers['www-authenticate'], 'Bearer realm="filtered-websocket"')
  })

  it('needs iat instead of exp with --jwt-max-age', async t => {
    const { connect } = await serve(t, { 'jwt-max-age': 60 })
    await connect(by(forgeSigned({ iat: now() - 50 })))
    for (const more of [{}, { exp: now() + 9999 }])
      await assert.rejects(connect(by(forgeSigned({ iat: now() - 70, ...more }))), /401: token refused: expired/)
    await assert.rejects(connect(by(forgeSigned({ exp: now() + 60 }))), /401: token refused: malformed/)
  })

  it('joins the topics of its claim, except those that another guard forbids', async t => {
    const onlyA: FilterModule = { permit: ({ topic }) => topic!.startsWith('a/') }
    const { connect } = await serve(t, { 'jwt-topics': 'rooms' }, [onlyA])
    const topics = async (rooms: unknown) => [...(await connect(by(sign({ rooms })))).client.topics]
    assert.deepEqual(await topics(['a/1', 'b/1', 'a/2', 7]), ['a/1', 'a/2'])
    assert.deepEqual(await topics('a/3'), ['a/3'])
    assert.deepEqual(await topics({ a: 'a/3' }), [])
  })
})

describe('jwt: a token is read', () => {
  const token = sign({ sub: 'ann' })
  const other = sign({ sub: 'eve' })

  it('from Authorization, and refused if that is malformed', async t => {
    const { connect } = await serve(t)
    for (const text of [`bearer ${token}`, `BEARER  ${token}`])
      assert.equal((await connect({ headers: { authorization: text } })).client.identity, 'ann')
    for (const text of [
      'Bearer',
      'Bearer ',
      'bearer,',
      `Bearer ${token} x`,
      `Bearer ${token}, x`,
      `Bearer, ${token}`,
      token,
    ])
      await assert.rejects(
        connect({ headers: { authorization: text }, protocols: ['bearer', token] }),
        /refused with 401: token refused: malformed/,
        text,
      )
  })

  for (const text of [
    'Basic YW5uOnNlY3JldA==',
    'basic YW5uOnNlY3JldA==',
    'Digest username="ann", realm="proxy", nonce="7", uri="/", response="1"',
    'Negotiate YIIJvwYGKwYBBQUCoIIJsz==',
    'AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c',
    `Token ${token}`,
    `BearerX ${token}`,
    '',
  ]) {
    it(`from another place if Authorization is ${JSON.stringify(text.slice(0, 30))}`, async t => {
      const { connect } = await serve(t)
      const headers = { authorization: text }
      assert.equal((await connect({ headers, protocols: ['bearer', token] })).client.identity, 'ann')
      await assert.rejects(connect({ headers }), /401: no token/)
      const byMessage = await serve(t, { 'jwt-first-message': true })
      const ann = await byMessage.connect({ headers })
      assert.equal(ann.client.identity, undefined)
      await ann.say(auth(token))
      assert.equal(ann.client.identity, 'ann')
    })
  }

  for (const prefix of ['Bearer ', 'bearer ', 'BEARER  ', 'Bearer%20', 'bearer+']) {
    it(`after ${JSON.stringify(prefix)} in a cookie, the query and a message, and it is the same token`, async t => {
      const { connect } = await serve(t, { 'jwt-cookie': 'session', 'jwt-query': true, 'jwt-first-message': true })
      const cookie = `session="${prefix}${token}"`
      assert.equal((await connect({ headers: { cookie } })).client.identity, 'ann')
      assert.equal((await connect({ url: `/?token=${prefix}${token}` })).client.identity, 'ann')
      const both = { headers: { cookie, authorization: `Bearer ${token}` }, protocols: ['bearer', token] }
      assert.equal((await connect(both)).client.identity, 'ann')
      const others = { headers: { cookie, authorization: `Bearer ${other}` } }
      await assert.rejects(connect(others), /400: token refused: two different tokens/)
      const ann = await connect()
      await ann.say(auth(`${prefix}${token}`))
      assert.equal(ann.client.identity, 'ann')
      await ann.say(auth(`${prefix}${token}`))
      assert.deepEqual(
        parsed(ann).map(({ auth }) => auth),
        ['ok', 'ok'],
      )
    })
  }

  it('not after anything else, nor without the space', async t => {
    const { connect } = await serve(t, { 'jwt-cookie': 'session' })
    for (const text of ['Bearer', `Bearer${token}`, `Bearer: ${token}`, `Token ${token}`, `x Bearer ${token}`])
      await assert.rejects(connect({ headers: { cookie: `session=${text}` } }), /401: token refused: /, text)
  })

  it('from a subprotocol that is never selected: others precede bearer', async t => {
    const { connect } = await serve(t)
    for (const [protocols, answered] of [
      [['bearer', token], 'bearer'],
      [['bearer', token, 'chat'], 'chat'],
      [['chat', 'bearer', token], 'chat'],
      [['Bearer', token], 'Bearer'],
      [['BEARER', token, 'chat'], 'chat'],
      [['chat', 'Bearer', token], 'chat'],
    ] as const) {
      const { client } = await connect({ protocols })
      assert.equal(client.identity, 'ann')
      assert.equal(client.handshake?.protocol, answered)
    }
    for (const protocols of [['bearer'], ['Bearer'], [token, 'bearer'], [token, 'Bearer']])
      await assert.rejects(connect({ protocols }), /401: token refused: malformed/)
    await assert.rejects(connect({ protocols: [token] }), /401: no token/)
  })

  it('from all subprotocols after bearer that have the form of a token', async t => {
    const { connect } = await serve(t)
    await assert.rejects(connect({ protocols: ['bearer', token, other] }), /400: token refused: two different tokens/)
    await assert.rejects(connect({ protocols: ['bearer', token, 'chat', 'a.b.c'] }), /400/)
    await assert.rejects(connect({ protocols: ['Bearer', token, 'bearer', other] }), /400/)
    const { client } = await connect({ protocols: ['bearer', token, token, 'chat.v2'] })
    assert.equal(client.handshake?.protocol, 'chat.v2')
    assert.equal((await connect({ protocols: ['bearer', token, token] })).client.handshake?.protocol, 'bearer')
    const before = await connect({ protocols: ['chat.v2.1', 'bearer', token] })
    assert.equal(before.client.handshake?.protocol, 'chat.v2.1')
  })

  it('and later filters may select the subprotocol', async t => {
    const chat: FilterModule = {
      connect: ({ handshake }) => {
        handshake!.protocol = 'chat.v2'
      },
    }
    const { connect } = await serve(t, {}, [chat])
    const { client } = await connect({ protocols: ['chat.v1', 'bearer', token, 'chat.v2'] })
    assert.equal(client.handshake?.protocol, 'chat.v2')
  })

  it('from the cookie of the configured name only', async t => {
    const { connect } = await serve(t, { 'jwt-cookie': 'session' })
    for (const cookie of [
      `session=${token}`,
      `a=b; session=${token}; c`,
      `a=b;session="${token}" ;;=;`,
      `session=; session=${token}; session=${token}`,
      `__proto__=x; session = ${token}`,
    ])
      assert.equal((await connect({ headers: { cookie } })).client.identity, 'ann', cookie)
    for (const cookie of ['', 'session', 'session=', `xsession=${token}`, `Session=${token}`, `a="session=${token}"`])
      await assert.rejects(connect({ headers: { cookie } }), /401: no token/, cookie)
    await assert.rejects(connect({ headers: { cookie: `session=${token};session=${other}` } }), /400/)
    await assert.rejects(connect({ headers: { cookie: `session=%22${token}%22` } }), /401: token refused: malformed/)
  })

  it('from cookies in linear time, also if they are all spaces', () => {
    const cookie = `a=b;${' '.repeat(15_000)};${'\t'.repeat(500)}c=d; session = ${token}`
    const handshake = { headers: { cookie }, protocols: [] } as unknown as Handshake
    const read = () => handshakeToken(handshake, { 'jwt-cookie': 'session', 'jwt-query': false })
    assert.equal(cheap(read, 'a cookie'), token)
  })

  it('from the query, if configured', async t => {
    const { connect } = await serve(t)
    await assert.rejects(connect({ url: `/?token=${token}` }), /401: no token/)
    const asked = await serve(t, { 'jwt-query': true })
    assert.equal((await asked.connect({ url: `/?token=${token}` })).client.identity, 'ann')
    await assert.rejects(asked.connect({ url: `/?token=${token}&token=${other}` }), /400/)
  })

  it('from several places only if it is the same', async t => {
    const { connect } = await serve(t, { 'jwt-query': true, 'jwt-cookie': 'session' })
    const everywhere = (at: string) => ({
      url: `/?token=${token}`,
      headers: { authorization: `Bearer ${token}`, cookie: `session=${at}` },
      protocols: ['bearer', token],
    })
    assert.equal((await connect(everywhere(token))).client.identity, 'ann')
    await assert.rejects(connect(everywhere(other)), /refused with 400: token refused: two different tokens/)
  })

  it('from a real handshake: the response does not contain it, and a second Authorization is read too', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env: { FWS_JWT_SECRET: SECRET } })
    const { status, headers } = await upgrade(server.url, { protocols: ['bearer', token] })
    assert.equal(status, 101)
    assert.equal(headers['sec-websocket-protocol'], 'bearer')
    assert.ok(!JSON.stringify(headers).includes(token))
    const both = await upgrade(server.url, {
      headers: { authorization: [`Bearer ${token}`, `Bearer ${other}`] as unknown as string },
    })
    assert.deepEqual([both.status, both.body], [400, 'token refused: two different tokens\n'])
    assert.match(both.headers['www-authenticate']!, /error="invalid_request"/)
  })
})

describe('jwt: first message', () => {
  it('admits a client, which received and sent no messages before', async t => {
    const received: Payload[] = []
    const listen: FilterModule = { message: payload => void received.push(payload) }
    const { server, connect, flush } = await serve(t, { 'jwt-first-message': true, 'jwt-topics': 'rooms' }, [listen])
    const ann = await connect()
    server.broadcast('before')
    flush()
    assert.deepEqual(ann.received, [])
    const exp = now() + 60
    await ann.say(auth(sign({ sub: 'ann', exp, rooms: ['a'] })))
    assert.deepEqual(parsed(ann), [{ auth: 'ok', expires: exp }])
    assert.equal(ann.client.identity, 'ann')
    server.broadcast('after', { topic: 'a' })
    await ann.say('hello')
    assert.deepEqual(ann.received.slice(1), ['after'])
    assert.deepEqual(received, ['hello'])
  })

  it('does not replace an invalid token in the handshake', async t => {
    const { connect } = await serve(t, { 'jwt-first-message': true })
    await assert.rejects(connect(by(sign({}, { key: 'x'.repeat(32) }))), /401/)
  })

  it('must arrive before --hold-timeout', async t => {
    const { connect } = await serve(t, { 'jwt-first-message': true, 'hold-timeout': 0.01 })
    const ann = await connect()
    while (ann.closed === undefined) await new Promise(setImmediate)
    assert.deepEqual(ending(ann), { code: 1008, reason: 'not admitted in time' })
  })

  it('notifies filters with an identity handler', async t => {
    const users: unknown[] = []
    const waits: FilterModule = {
      open: (client: Client) => client.onIdentity(async ({ state: { user } }) => void users.push(user?.sub)),
    }
    const { connect } = await serve(t, { 'jwt-first-message': true }, [waits])
    const ann = await connect()
    for (const _ of [1, 2]) await ann.say(auth(sign({ sub: 'ann' })))
    assert.deepEqual(users, ['ann', 'ann'])
  })
})

describe('jwt: a filter that fails in its identity handler', () => {
  it('closes the client, which would stay pending', async t => {
    const fails: FilterModule = {
      open: (client: Client) => client.onIdentity(() => Promise.reject(new Error('broken'))),
    }
    const { connect, server } = await serve(t, { 'jwt-first-message': true }, [fails])
    const ann = await connect()
    await ann.say(auth(sign({ sub: 'ann' })))
    assert.deepEqual(ending(ann), { code: 1011, reason: 'a filter failed' })
    assert.equal(server.counters.errors, 1)
  })
})

describe('jwt: a transport without a handshake', () => {
  function attach(server: Server) {
    const ended: unknown[] = []
    const wrote: string[] = []
    const socket = new PassThrough().on('data', chunk => wrote.push(String(chunk)))
    const transport: Transport = {
      name: 'tcp',
      remote: '',
      socket,
      frame: payload => Buffer.from(`${payload}\n`),
      pause: () => {},
      resume: () => {},
      close: (code, reason) => {
        ended.push({ code, reason })
        attached.closed(code, reason, true)
      },
      destroy: () => attached.closed(1006, '', false),
    }
    const attached = server.attach(transport)
    return { ...attached, ended, wrote }
  }
  const turns = async () => {
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  }

  it('is closed', async t => {
    const { server } = await serve(t)
    const { ended, client, receive } = attach(server)
    receive('hello')
    await turns()
    assert.deepEqual(ended, [{ code: 4401, reason: 'no token' }])
    assert.equal(client.identity, undefined)
  })

  it('may authenticate by its first message', async t => {
    const { server } = await serve(t, { 'jwt-first-message': true })
    const { client, receive, wrote } = attach(server)
    await turns()
    server.broadcast('not for you')
    receive(auth(sign({ sub: 'ann' })))
    receive('hello')
    await turns()
    assert.equal(client.identity, 'ann')
    assert.match(wrote.join(''), /^{"auth":"ok","expires":\d+}\nhello\n$/)
  })
})

describe('jwt: refresh', () => {
  it('accepts another token of the same subject, with its claims and topics', async t => {
    const { connect } = await serve(t, { 'jwt-topics': 'rooms' })
    const ann = await connect(by(sign({ sub: 'ann', rooms: ['a', 'b'] })))
    ann.client.join('own')
    const exp = now() + 600
    await ann.say(` { "auth" : "${sign({ sub: 'ann', exp, rooms: ['b', 'c'], role: 'admin' })}" }`)
    assert.deepEqual(parsed(ann), [{ auth: 'ok', expires: exp }])
    assert.deepEqual([...ann.client.topics], ['b', 'own', 'c'])
    assert.equal(ann.client.state.user?.role, 'admin')
  })

  it('reports why a token is refused, and keeps the current one', async t => {
    const { connect } = await serve(t)
    const ann = await connect(by(sign({ sub: 'ann', role: 'user' })))
    await ann.say(auth(sign({ sub: 'ann', role: 'admin', exp: now() - 60 })))
    await ann.say(auth(sign({ sub: 'ann', role: 'admin' }, { key: 'x'.repeat(32) })))
    await ann.say(auth(''))
    await ann.say('{"auth":null}')
    const reasons = ['expired', 'bad signature', 'malformed', 'malformed']
    assert.deepEqual(
      parsed(ann),
      reasons.map(reason => ({ auth: 'error', reason })),
    )
    assert.equal(ann.client.state.user?.role, 'user')
    assert.equal(ending(ann), undefined)
  })

  it('with another subject closes 4401', async t => {
    const { connect } = await serve(t)
    for (const claims of [{ sub: 'root' }, {}, { sub: 'ann', iss: 'elsewhere' }]) {
      const ann = await connect(by(sign({ sub: 'ann' })))
      await ann.say(auth(sign(claims)))
      assert.deepEqual(ending(ann), { code: 4401, reason: 'another subject' })
      assert.equal(ann.client.identity, 'ann')
    }
  })

  it('starts like a JSON object with the key auth; other messages pass unchanged', async t => {
    const { connect } = await serve(t)
    const ann = await connect(by(sign({ sub: 'ann' })))
    const others = [
      '{"author":"x"}',
      '["auth"]',
      'auth',
      '{"to":1,"auth":"x"}',
      Buffer.from([0, 255]),
      Buffer.from('{"a'),
    ]
    for (const other of others) await ann.say(other)
    assert.deepEqual(ann.received, others)
  })

  it('in another form is dropped, since it may contain a token', async t => {
    const { connect } = await serve(t)
    const token = sign({ sub: 'ann' })
    const ann = await connect(by(token))
    const inexact = [
      `{"auth":"${token}","to":1}`,
      ` {\n"auth":"${token}"`,
      `\ufeff${auth(token)}`,
      Buffer.from(auth(token)),
      Buffer.from(` \r\n { "auth": "${token}`),
    ]
    for (const payload of inexact) await ann.say(payload)
    assert.deepEqual(ann.received, Array(inexact.length).fill('{"auth":"error","reason":"malformed"}'))
    assert.equal(ending(ann), undefined)
  })

  it('in another form as first message closes 4401', async t => {
    const { connect } = await serve(t, { 'jwt-first-message': true })
    const token = sign({ sub: 'ann' })
    for (const payload of [`{"auth":"${token}","to":1}`, Buffer.from(auth(token))]) {
      const ann = await connect()
      await ann.say(payload)
      assert.deepEqual(ending(ann), { code: 4401, reason: 'malformed' })
    }
  })
})

describe('jwt: expiry', () => {
  async function serveInTime(t: TestContext, options: object = {}) {
    t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: 1_700_000_000_000 })
    /** On a busy machine a sweep ends in a later turn, and the next one does not begin before. */
    const pass = async (seconds: number) => {
      for (let i = 0; i < seconds; i++) {
        t.mock.timers.tick(1000)
        await turn()
      }
    }
    return { ...(await serve(t, options)), pass }
  }

  it('warns, and closes 4401 after the grace period', async t => {
    const { connect, pass, flush } = await serveInTime(t)
    const exp = now() + 60
    const ann = await connect(by(sign({ sub: 'ann', exp })))
    await pass(59)
    flush()
    assert.deepEqual(ann.received, [])
    await pass(2)
    await ann.say('still here')
    await pass(8)
    assert.deepEqual(ann.received, [JSON.stringify({ auth: 'expiring', expires: exp }), 'still here'])
    assert.equal(ending(ann), undefined)
    await pass(1)
    assert.deepEqual(ending(ann), { code: 4401, reason: 'token expired' })
  })

  it('is extended by a refresh, also within the grace period', async t => {
    const { connect, pass } = await serveInTime(t)
    const ann = await connect(by(sign({ sub: 'ann', exp: now() + 60 })))
    await pass(65)
    await ann.say(auth(sign({ sub: 'ann', exp: now() + 60 })))
    assert.deepEqual(
      parsed(ann).map(message => message.auth),
      ['expiring', 'ok'],
    )
    await pass(65)
    assert.equal(ending(ann), undefined)
    await pass(6)
    assert.equal(ending(ann)?.code, 4401)
  })

  it('also applies after a first message, but not to clients that have left', async t => {
    const { connect, pass } = await serveInTime(t, { 'jwt-first-message': true, 'jwt-grace': 0 })
    const [ann, bob] = [await connect(), await connect()]
    for (const peer of [ann, bob]) await peer.say(auth(sign({ sub: 'ann', exp: now() + 5 })))
    await bob.leave()
    await pass(5)
    assert.equal(ending(ann)?.code, 4401)
    assert.equal(ending(bob), undefined)
  })

  it('may be beyond the range of timers', async t => {
    const { connect, pass } = await serveInTime(t)
    const ann = await connect(by(sign({ sub: 'ann', exp: 9_999_999_999_999 })))
    await pass(100)
    assert.equal(ending(ann), undefined)
    assert.deepEqual(ann.received, [])
  })

  it('is that of --jwt-max-age if it is earlier', async t => {
    const { connect, pass } = await serveInTime(t, { 'jwt-max-age': 20, 'jwt-grace': 0 })
    const ann = await connect(by(sign({ sub: 'ann', exp: now() + 600 })))
    await pass(19)
    assert.equal(ending(ann), undefined)
    await pass(1)
    assert.equal(ending(ann)?.code, 4401)
  })
})

describe('jwt: revoke', () => {
  it('revokes the tokens of a subject issued so far, but not later ones', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_900 })
    const { connect, revoke } = await serve(t, { 'jwt-first-message': true })
    const old = sign({ sub: 'ann' })
    const [ann, bob, held] = [await connect(by(old)), await connect(by(sign({ sub: 'bob' }))), await connect()]
    await revoke({ sub: 'ann' })
    assert.deepEqual(ending(ann), { code: 4403, reason: 'revoked' })
    assert.equal(ending(bob), undefined)
    await assert.rejects(connect(by(old)), /401: token refused: revoked/)
    await assert.rejects(connect(by(sign({ sub: 'ann', iat: now() - 5 }))), /401: token refused: revoked/)
    await held.say(auth(old))
    assert.deepEqual(ending(held), { code: 4401, reason: 'revoked' })
    // The issuer's clock may be ahead.
    for (const iat of [now() + 5, now() + 5.8])
      await assert.rejects(connect(by(sign({ sub: 'ann', iat }))), /401: token refused: revoked/, `${iat}`)
    t.mock.timers.tick(6000)
    await connect(by(sign({ sub: 'ann' })))
  })

  it('is not bypassed by tokens from the future: they are not yet valid', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    const { connect } = await serve(t)
    await connect(by(sign({ sub: 'ann', iat: now() + 5 })))
    await assert.rejects(connect(by(sign({ sub: 'ann', iat: now() + 6 }))), /401: token refused: not yet valid/)
  })

  it('revokes one token by its id', async t => {
    const { connect, revoke } = await serve(t)
    const [one, two] = [sign({ sub: 'ann', jti: '1' }), sign({ sub: 'ann', jti: '2' })]
    const [ann, too] = [await connect(by(one)), await connect(by(two))]
    await revoke({ jti: '1' }, 60)
    assert.deepEqual(ending(ann), { code: 4403, reason: 'revoked' })
    assert.equal(ending(too), undefined)
    await assert.rejects(connect(by(one)), /401: token refused: revoked/)
    await too.say(auth(one))
    assert.deepEqual(ending(too), { code: 4401, reason: 'revoked' })
  })

  it('revokes tokens without iat, and all tokens if the stored value is invalid', async t => {
    const nonsense: FilterModule = {
      setup: async ({ storage }) => {
        await storage.values.set('jwt:revoked:sub:bob', 'soon')
        await storage.values.set('jwt:revoked:sub:cy', '')
      },
    }
    const { connect, revoke } = await serve(t, {}, [nonsense])
    await revoke({ sub: 'ann' })
    await assert.rejects(connect(by(forgeSigned({ sub: 'ann', exp: now() + 60 }))), /401: token refused: revoked/)
    for (const sub of ['bob', 'cy'])
      await assert.rejects(connect(by(sign({ sub }))), /401: token refused: revoked/, sub)
  })

  it('closes a client whose check started before the revocation', async t => {
    const storage = `
      const values = new Map(), asked = []
      export const open = () => ({ values: {
        get: key => new Promise(resolve => {
          const value = values.get(key)
          asked.push(() => resolve(value))
        }),
        set: async (key, value) => {
          values.set(key, value)
          setImmediate(() => asked.splice(0).forEach(answer => answer()))
        },
      } })`
    const cwd = folder(t, { 'late.mjs': storage })
    const { connect, revoke } = await serve(t, { storage: `${cwd}/late.mjs`, 'jwt-first-message': true })
    for (const which of [{ jti: '1' }, { sub: 'ann' }]) {
      const token = sign({ sub: 'ann', jti: Object.values(which)[0] })
      const held = await connect()
      const outcomes = Promise.all([assert.rejects(connect(by(token)), /refused with 403/), held.say(auth(token))])
      for (let i = 0; i < 5; i++) await new Promise(setImmediate)
      await revoke(which)
      await outcomes
      assert.deepEqual(ending(held), { code: 4403, reason: 'revoked' })
      assert.deepEqual(held.received, [])
    }
  })

  it('closes a client that waits for another filter, also by id', async t => {
    let go = () => {}
    const slow: FilterModule = {
      connect: () =>
        new Promise(resolve => {
          go = () => resolve(undefined)
        }),
    }
    const { connect, revoke } = await serve(t, {}, [slow])
    for (const which of [{ jti: '1' }, { sub: 'ann' }]) {
      const token = sign({ sub: 'ann', jti: Object.values(which)[0] })
      const refused = assert.rejects(connect(by(token)), /refused with 403/)
      for (let i = 0; i < 5; i++) await new Promise(setImmediate)
      await revoke(which)
      go()
      await refused
    }
  })

  it('refuses invalid arguments', async t => {
    const { revoke } = await serve(t)
    for (const which of [{}, { sub: '' }, { sub: 'a', jti: 'b' }, { id: 'a' }, undefined])
      await assert.rejects(revoke(which as never), {
        message: 'revoke() takes { sub } or { jti } with a string that is not empty',
      })
    await assert.rejects(revoke({ sub: 'a' }, 0), { message: 'revoke() takes seconds above 0, received 0' })
  })

  it('admits no client while the storage fails, with 503 or 1013', async t => {
    const storage = `
      const fail = () => { throw new Error('down') }
      export const open = () => ({ values: { get: fail, set: fail } })`
    const cwd = folder(t, { 'down.mjs': storage })
    const { connect, revoke, server } = await serve(t, { storage: `${cwd}/down.mjs`, 'jwt-first-message': true })
    await assert.rejects(connect(by(sign({ sub: 'ann' }))), /refused with 503: token refused: revocations unavailable/)
    const bob = await connect()
    await bob.say(auth(sign({ sub: 'bob' })))
    assert.deepEqual(ending(bob), { code: 1013, reason: 'revocations unavailable' })
    // Without sub and jti there is no lookup.
    const anonymous = await connect(by(sign({})))
    anonymous.client.identity = 'cy'
    await assert.rejects(revoke({ sub: 'cy' }), /down/)
    assert.equal(ending(anonymous)?.code, 4403)
    assert.equal(server.counters.errors, 0)
  })
})

describe('jwt: options', () => {
  const refuses = (options: object, message: string | RegExp) =>
    assert.rejects(testServer(['jwt'], { ...options }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'ERR_OPTION')
      if (typeof message === 'string') assert.equal(error.message, `filter jwt: ${message}`)
      else assert.match(error.message, message)
      return true
    })

  it('name exactly one key source', async () => {
    const one = 'set one of --jwt-secret, --jwt-public-key and --jwt-jwks-url, received'
    await refuses({}, `${one} none`)
    await refuses(
      { 'jwt-secret': SECRET, 'jwt-jwks-url': 'https://a.example' },
      `${one} --jwt-secret and --jwt-jwks-url`,
    )
  })

  it('need a long secret, which no error shows', async () => {
    const secret = 'short and secret'
    const pem = rsa().pem
    await refuses({ 'jwt-secret': pem }, '--jwt-secret is a PEM key; set --jwt-public-key to its file')
    await refuses({ 'jwt-secret': secret }, '--jwt-secret has 16 bytes; HS256 needs 32 or more (RFC 7518, section 3.2)')
    await refuses({ 'jwt-secret': SECRET, 'jwt-algorithms': ['HS256', 'HS512'] }, /HS512 needs 64 or more/)
  })

  it('name algorithms that fit the key', async t => {
    const cwd = folder(t, { 'rsa.pem': rsa().pem, 'ec.pem': ec('P-384').pem })
    const secret = { 'jwt-secret': SECRET }
    const jwks = { 'jwt-jwks-url': 'https://a.example/keys' }
    for (const name of ['none', 'RS256', 'hs256', 'HS1'])
      await refuses(
        { ...secret, 'jwt-algorithms': [name] },
        `--jwt-algorithms: "${name}" is not valid for a secret; valid are HS256, HS384, HS512`,
      )
    for (const key of [{ 'jwt-public-key': `${cwd}/rsa.pem` }, jwks])
      for (const name of ['none', 'HS256'])
        await refuses({ ...key, 'jwt-algorithms': ['RS256', name] }, /is not valid for/)
    await refuses({ 'jwt-public-key': `${cwd}/ec.pem`, 'jwt-algorithms': ['ES256'] }, /valid are ES384$/)
  })

  it('need a valid and strong public key', async t => {
    const weak = rsa(1024)
    const files = {
      'weak.pem': weak.pem,
      'private.pem': weak.privatePem,
      'odd.pem': 'hello',
      'curve.pem': ec('secp256k1').pem,
    }
    const cwd = folder(t, files)
    const at = (file: string) => ({ 'jwt-public-key': `${cwd}/${file}` })
    await refuses(
      at('weak.pem'),
      /must be an RSA key of 2048 bits or more, an EC key of a NIST curve, or an Ed25519 key$/,
    )
    await refuses(at('curve.pem'), /must be an RSA key/)
    await refuses(at('private.pem'), /holds a private key; give only its public key: openssl pkey -in FILE -pubout$/)
    await refuses(at('odd.pem'), /is not in PEM format: it has no line "-----BEGIN \.\.\."$/)
    await refuses(at('none.pem'), /cannot be read: ENOENT/)
  })

  it('need a key URL with TLS and without credentials', async () => {
    for (const url of ['http://issuer.example/keys', 'ftp://localhost/keys', 'file:///etc/passwd', 'keys'])
      await refuses({ 'jwt-jwks-url': url }, /takes https:\/\/\.\.\., or http:\/\/ on loopback, received "/)
    await refuses(
      { 'jwt-jwks-url': 'https://ann:word@a.example/' },
      '--jwt-jwks-url must not contain a user or password',
    )
  })

  it('allow a key URL without TLS on loopback only, in any spelling', async () => {
    for (const host of [
      'localhost',
      'LOCALHOST',
      'localhost.',
      '127.8.9.1',
      '127.1',
      '0x7f.1',
      '[::1]',
      '[::ffff:127.0.0.1]',
    ]) {
      const { stop } = await testServer(['jwt'], { 'jwt-jwks-url': `http://${host}:1/keys` })
      await stop()
    }
    for (const host of [
      'app.localhost',
      'localhost.example',
      '128.0.0.1',
      '0.0.0.0',
      '[::]',
      '[::ffff:10.0.0.1]',
      '127.0.0.1.example',
    ])
      await refuses(
        { 'jwt-jwks-url': `http://${host}:1/keys` },
        /takes https:\/\/\.\.\., or http:\/\/ on loopback, received "/,
      )
  })

  it('accept elliptic keys', async t => {
    for (const [curve, algorithm] of [
      ['P-256', 'ES256'],
      ['P-521', 'ES512'],
    ] as const) {
      const pair = ec(curve)
      const cwd = folder(t, { 'key.pem': pair.pem })
      const { connect, stop } = await testServer(['jwt'], { 'jwt-public-key': `${cwd}/key.pem` })
      await connect(by(sign({ sub: 'ann' }, { key: pair.privateKey, algorithm })))
      await stop()
    }
  })
})

describe('jwt: an arbitrary value as token', () => {
  const lists = { 'jwt-issuer': [], 'jwt-audience': [], 'jwt-require': [] }
  const options = { ...lists, 'jwt-clock-tolerance': 5, 'jwt-max-token': 8192 }
  const verify = verifierOf(options as unknown as JwtOptions, secretSource(SECRET, []))
  const isRefused = (text: string) =>
    verify(text).then(
      () => false,
      error => error instanceof Refused,
    )
  const json = fc.json()
  const part = fc.oneof(
    fc.base64String(),
    fc.string(),
    json.map(text => Buffer.from(text).toString('base64url')),
    fc
      .record({ alg: fc.constantFrom('none', 'HS256', 'RS256', ''), kid: fc.jsonValue(), crit: fc.jsonValue() })
      .map(forgedPart),
  )

  it('is refused with a reason', () =>
    fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 5 }), parts => isRefused(parts.join('.'))),
      { numRuns: 3000 },
    ))

  it('a valid one with one changed character is refused', async () => {
    const good = sign({ sub: 'ann', role: 'user' })
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 2), fc.constantFrom(...'AZaz09-_.='), async (at, character) => {
        fc.pre(good[at] !== character)
        return isRefused(`${good.slice(0, at)}${character}${good.slice(at + 1)}`)
      }),
      { numRuns: 1000 },
    )
  })

  it('any JSON as payload with a valid signature is refused', () =>
    fc.assert(
      fc.asyncProperty(json, async text => {
        const { expires } = await verify(forgeSigned(text)).catch(error => {
          assert.ok(error instanceof Refused, error)
          return { expires: now() }
        })
        assert.ok(Number.isSafeInteger(expires))
      }),
      { numRuns: 1000 },
    ))

  const large = 1_048_576
  it('is recognized by the first characters of a message of any length', () => {
    for (const [what, payload, isOne] of [
      ['spaces', ' '.repeat(large), false],
      ['bytes of spaces', Buffer.alloc(large, 32), false],
      ['lines', '\n'.repeat(large), false],
      ['spaces behind the brace', `{${' '.repeat(large)}"auth":1}`, false],
      ['bytes of braces', Buffer.alloc(large, 123), false],
      ['a long token', `{"auth":"${'x'.repeat(large)}"}`, true],
      ['arrays', `{"auth":${'['.repeat(large)}`, true],
      ['bytes of a long token', Buffer.from(`  {"auth":"${'x'.repeat(large)}"}`), true],
    ] as const) {
      assert.equal(
        cheap(() => isAuth(payload), what),
        isOne,
        what,
      )
      if (isOne) assert.throws(() => cheap(() => tokenIn(payload, 8192), what), { reason: 'too long' }, what)
    }
    const began = process.cpuUsage()
    for (let i = 0; i < 100; i++) isAuth(' '.repeat(large))
    assert.ok(process.cpuUsage(began).user < 500_000)
  })

  it('any message has a token or none, without another error', () =>
    fc.assert(
      fc.property(
        fc.oneof(
          json,
          fc.string(),
          json.map(text => `{"auth":${text}}`),
        ),
        text => !isAuth(text) || typeof tokenIn(text, 8192) === 'string',
      ),
      { numRuns: 2000 },
    ))
})

function forgedPart(head: object): string {
  return Buffer.from(JSON.stringify(head)).toString('base64url')
}
