import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { secretSource } from '../../filters/jwt/keys.ts'
import { isAuth, tokenIn } from '../../filters/jwt/message.ts'
import { tokenOffered } from '../../filters/jwt/offered.ts'
import type { JwtOptions } from '../../filters/jwt/options.ts'
import { Refused } from '../../filters/jwt/refused.ts'
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
import { knock } from '../support/knock.ts'
import { ec, forgeSigned, rsa, SECRET, sign } from '../support/tokens.ts'

type Filters = Parameters<typeof testServer>[0]

const now = () => Math.floor(Date.now() / 1000)

/** A chain of jwt and an echo, and what a filter after it is given of jwt's api. */
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
  it('is who the token says', async t => {
    const { connect } = await serve(t)
    const { client } = await connect(by(sign({ sub: 'ann', role: 'admin' })))
    assert.equal(client.identity, 'ann')
    assert.equal(client.state.user?.role, 'admin')
    assert.equal((await connect(by(sign({ role: 'guest' })))).client.identity, undefined)
  })

  it('is refused without one, with a challenge', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env: { FWS_JWT_SECRET: SECRET } })
    const { status, headers, body } = await knock(server.url)
    assert.deepEqual([status, body], [401, 'no token\n'])
    assert.equal(headers['www-authenticate'], 'Bearer realm="filtered-websocket"')
  })

  it('needs no expiry where --jwt-max-age sets one, and then says when it was issued', async t => {
    const { connect } = await serve(t, { 'jwt-max-age': 60 })
    await connect(by(forgeSigned({ iat: now() - 50 })))
    for (const more of [{}, { exp: now() + 9999 }])
      await assert.rejects(connect(by(forgeSigned({ iat: now() - 70, ...more }))), /401: token refused: expired/)
    await assert.rejects(connect(by(forgeSigned({ exp: now() + 60 }))), /401: token refused: malformed/)
  })

  it('joins the topics of its claim, but those that another guard refuses', async t => {
    const onlyA: FilterModule = { permit: ({ topic }) => topic!.startsWith('a/') }
    const { connect } = await serve(t, { 'jwt-topics': 'rooms' }, [onlyA])
    const topics = async (rooms: unknown) => [...(await connect(by(sign({ rooms })))).client.topics]
    assert.deepEqual(await topics(['a/1', 'b/1', 'a/2', 7]), ['a/1', 'a/2'])
    assert.deepEqual(await topics('a/3'), ['a/3'])
    assert.deepEqual(await topics({ a: 'a/3' }), [])
  })
})

describe('jwt: where a token is looked for', () => {
  const token = sign({ sub: 'ann' })
  const other = sign({ sub: 'eve' })

  it('in Authorization, and nowhere else when that is malformed', async t => {
    const { connect } = await serve(t)
    for (const text of [`bearer ${token}`, `BEARER  ${token}`])
      assert.equal((await connect({ headers: { authorization: text } })).client.identity, 'ann')
    for (const text of ['', 'Bearer', 'Bearer ', `Bearer ${token} x`, `Bearer ${token}, x`, `Basic ${token}`, token])
      await assert.rejects(
        connect({ headers: { authorization: text }, protocols: ['bearer', token] }),
        /refused with 401: token refused: malformed/,
        text,
      )
  })

  it('in a subprotocol, which is never answered: the others before the word bearer', async t => {
    const { connect } = await serve(t)
    for (const [protocols, answered] of [
      [['bearer', token], 'bearer'],
      [['bearer', token, 'chat'], 'chat'],
      [['chat', 'bearer', token], 'chat'],
    ] as const) {
      const { client } = await connect({ protocols })
      assert.equal(client.identity, 'ann')
      assert.equal(client.handshake?.protocol, answered)
    }
    for (const protocols of [['bearer'], [token, 'bearer']])
      await assert.rejects(connect({ protocols }), /401: token refused: malformed/)
    await assert.rejects(connect({ protocols: [token] }), /401: no token/)
  })

  it('in every subprotocol after the word bearer that looks like one', async t => {
    const { connect } = await serve(t)
    await assert.rejects(connect({ protocols: ['bearer', token, other] }), /400: token refused: two different tokens/)
    await assert.rejects(connect({ protocols: ['bearer', token, 'chat', 'a.b.c'] }), /400/)
    const { client } = await connect({ protocols: ['bearer', token, token, 'chat.v2'] })
    assert.equal(client.handshake?.protocol, 'chat.v2')
    assert.equal((await connect({ protocols: ['bearer', token, token] })).client.handshake?.protocol, 'bearer')
    const before = await connect({ protocols: ['chat.v2.1', 'bearer', token] })
    assert.equal(before.client.handshake?.protocol, 'chat.v2.1')
  })

  it('leaves the subprotocol to the filters after it', async t => {
    const chat: FilterModule = {
      connect: ({ handshake }) => {
        handshake!.protocol = 'chat.v2'
      },
    }
    const { connect } = await serve(t, {}, [chat])
    const { client } = await connect({ protocols: ['chat.v1', 'bearer', token, 'chat.v2'] })
    assert.equal(client.handshake?.protocol, 'chat.v2')
  })

  it('in a cookie of the given name and no other, whatever stands around it', async t => {
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

  it('in cookies that are all blanks at once: they are read in one pass', () => {
    const cookie = `a=b;${' '.repeat(15_000)};${'\t'.repeat(500)}c=d; session = ${token}`
    const since = performance.now()
    const handshake = { headers: { cookie }, protocols: [] } as unknown as Handshake
    assert.equal(tokenOffered(handshake, { 'jwt-cookie': 'session', 'jwt-query': false }), token)
    assert.ok(performance.now() - since < 500)
  })

  it('in the query, if asked for', async t => {
    const { connect } = await serve(t)
    await assert.rejects(connect({ url: `/?token=${token}` }), /401: no token/)
    const asked = await serve(t, { 'jwt-query': true })
    assert.equal((await asked.connect({ url: `/?token=${token}` })).client.identity, 'ann')
    await assert.rejects(asked.connect({ url: `/?token=${token}&token=${other}` }), /400/)
  })

  it('at several places only if it is the same', async t => {
    const { connect } = await serve(t, { 'jwt-query': true, 'jwt-cookie': 'session' })
    const everywhere = (at: string) => ({
      url: `/?token=${token}`,
      headers: { authorization: `Bearer ${token}`, cookie: `session=${at}` },
      protocols: ['bearer', token],
    })
    assert.equal((await connect(everywhere(token))).client.identity, 'ann')
    await assert.rejects(connect(everywhere(other)), /refused with 400: token refused: two different tokens/)
  })

  it('of a real handshake: the token is not in the answer, and a second Authorization does not hide', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env: { FWS_JWT_SECRET: SECRET } })
    const { status, headers } = await knock(server.url, { protocols: ['bearer', token] })
    assert.equal(status, 101)
    assert.equal(headers['sec-websocket-protocol'], 'bearer')
    assert.ok(!JSON.stringify(headers).includes(token))
    const both = await knock(server.url, {
      headers: { authorization: [`Bearer ${token}`, `Bearer ${other}`] as unknown as string },
    })
    assert.deepEqual([both.status, both.body], [400, 'token refused: two different tokens\n'])
    assert.match(both.headers['www-authenticate']!, /error="invalid_request"/)
  })
})

describe('jwt: first message', () => {
  it('admits a client, which got nothing and was heard by nobody before', async t => {
    const heard: Payload[] = []
    const listen: FilterModule = { message: payload => void heard.push(payload) }
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
    assert.deepEqual(heard, ['hello'])
  })

  it('is no way around a bad token in the handshake', async t => {
    const { connect } = await serve(t, { 'jwt-first-message': true })
    await assert.rejects(connect(by(sign({}, { key: 'x'.repeat(32) }))), /401/)
  })

  it('is in time or never', async t => {
    const { connect } = await serve(t, { 'jwt-first-message': true, 'hold-timeout': 0.01 })
    const ann = await connect()
    while (ann.closed === undefined) await new Promise(setImmediate)
    assert.deepEqual(ending(ann), { code: 1008, reason: 'not admitted in time' })
  })

  it('tells filters that wait for a user', async t => {
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

describe('jwt: a filter that fails with a user', () => {
  it('closes who would stay on hold for ever', async t => {
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

  it('may say who it is in its first message', async t => {
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
  it('takes a later token of the same subject, with its claims and topics', async t => {
    const { connect } = await serve(t, { 'jwt-topics': 'rooms' })
    const ann = await connect(by(sign({ sub: 'ann', rooms: ['a', 'b'] })))
    ann.client.join('own')
    const exp = now() + 600
    await ann.say(` { "auth" : "${sign({ sub: 'ann', exp, rooms: ['b', 'c'], role: 'admin' })}" }`)
    assert.deepEqual(parsed(ann), [{ auth: 'ok', expires: exp }])
    assert.deepEqual([...ann.client.topics], ['b', 'own', 'c'])
    assert.equal(ann.client.state.user?.role, 'admin')
  })

  it('says why a bad one is none, and leaves everything as it was', async t => {
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

  it('is no way to become another: closed 4401', async t => {
    const { connect } = await serve(t)
    for (const claims of [{ sub: 'root' }, {}, { sub: 'ann', iss: 'elsewhere' }]) {
      const ann = await connect(by(sign({ sub: 'ann' })))
      await ann.say(auth(sign(claims)))
      assert.deepEqual(ending(ann), { code: 4401, reason: 'another subject' })
      assert.equal(ann.client.identity, 'ann')
    }
  })

  it('starts like a JSON object of the key auth; all else passes as it is', async t => {
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

  it('that is not exact reaches nobody: a token may be in it', async t => {
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

  it('that is not exact as a first message closes 4401', async t => {
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
    return { ...(await serve(t, options)), pass: (seconds: number) => t.mock.timers.tick(seconds * 1000) }
  }

  it('warns, and closes 4401 when the grace is over', async t => {
    const { connect, pass, flush } = await serveInTime(t)
    const exp = now() + 60
    const ann = await connect(by(sign({ sub: 'ann', exp })))
    pass(59)
    flush()
    assert.deepEqual(ann.received, [])
    pass(2)
    await ann.say('still here')
    pass(8)
    assert.deepEqual(ann.received, [JSON.stringify({ auth: 'expiring', expires: exp }), 'still here'])
    assert.equal(ending(ann), undefined)
    pass(1)
    assert.deepEqual(ending(ann), { code: 4401, reason: 'token expired' })
  })

  it('is put off by a refresh, also within the grace', async t => {
    const { connect, pass } = await serveInTime(t)
    const ann = await connect(by(sign({ sub: 'ann', exp: now() + 60 })))
    pass(65)
    await ann.say(auth(sign({ sub: 'ann', exp: now() + 60 })))
    assert.deepEqual(
      parsed(ann).map(message => message.auth),
      ['expiring', 'ok'],
    )
    pass(65)
    assert.equal(ending(ann), undefined)
    pass(6)
    assert.equal(ending(ann)?.code, 4401)
  })

  it('comes for who authenticated by first message too, and not for who is gone', async t => {
    const { connect, pass } = await serveInTime(t, { 'jwt-first-message': true, 'jwt-grace': 0 })
    const [ann, bob] = [await connect(), await connect()]
    for (const peer of [ann, bob]) await peer.say(auth(sign({ sub: 'ann', exp: now() + 5 })))
    await bob.leave()
    pass(5)
    assert.equal(ending(ann)?.code, 4401)
    assert.equal(ending(bob), undefined)
  })

  it('may be further away than any timer', async t => {
    const { connect, pass } = await serveInTime(t)
    const ann = await connect(by(sign({ sub: 'ann', exp: 9_999_999_999_999 })))
    pass(100)
    assert.equal(ending(ann), undefined)
    assert.deepEqual(ann.received, [])
  })

  it('is that of --jwt-max-age if that is sooner', async t => {
    const { connect, pass } = await serveInTime(t, { 'jwt-max-age': 20, 'jwt-grace': 0 })
    const ann = await connect(by(sign({ sub: 'ann', exp: now() + 600 })))
    pass(19)
    assert.equal(ending(ann), undefined)
    pass(1)
    assert.equal(ending(ann)?.code, 4401)
  })
})

describe('jwt: revoke', () => {
  it('ends all tokens of a subject so far, and none that is issued later', async t => {
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
    // The clock of the issuer may be ahead.
    for (const iat of [now() + 5, now() + 5.8])
      await assert.rejects(connect(by(sign({ sub: 'ann', iat }))), /401: token refused: revoked/, `${iat}`)
    t.mock.timers.tick(6000)
    await connect(by(sign({ sub: 'ann' })))
  })

  it('is no use against tokens from a future; they are not yet valid', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    const { connect } = await serve(t)
    await connect(by(sign({ sub: 'ann', iat: now() + 5 })))
    await assert.rejects(connect(by(sign({ sub: 'ann', iat: now() + 6 }))), /401: token refused: not yet valid/)
  })

  it('ends one token by its id', async t => {
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

  it('ends a token that does not say when it was issued, and any where the storage holds nonsense', async t => {
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

  it('reaches who is let in by an answer of the storage from before', async t => {
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

  it('reaches who waits for another filter, by id too', async t => {
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

  it('takes a name and a time', async t => {
    const { revoke } = await serve(t)
    for (const which of [{}, { sub: '' }, { sub: 'a', jti: 'b' }, { id: 'a' }, undefined])
      await assert.rejects(revoke(which as never), { message: 'revoke() takes { sub } or { jti } with a text' })
    await assert.rejects(revoke({ sub: 'a' }, 0), { message: 'revoke() takes seconds above 0, received 0' })
  })

  it('lets nobody in while the storage cannot be asked, and says that it is not their fault', async t => {
    const storage = `
      const fail = () => { throw new Error('down') }
      export const open = () => ({ values: { get: fail, set: fail } })`
    const cwd = folder(t, { 'down.mjs': storage })
    const { connect, revoke, server } = await serve(t, { storage: `${cwd}/down.mjs`, 'jwt-first-message': true })
    await assert.rejects(connect(by(sign({ sub: 'ann' }))), /refused with 503: token refused: revocations unavailable/)
    const bob = await connect()
    await bob.say(auth(sign({ sub: 'bob' })))
    assert.deepEqual(ending(bob), { code: 1013, reason: 'revocations unavailable' })
    // Nothing to look up.
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

  it('name one source of keys', async () => {
    const one = 'one of --jwt-secret, --jwt-public-key and --jwt-jwks-url says who signs'
    await refuses({}, `${one}; none is given`)
    await refuses(
      { 'jwt-secret': SECRET, 'jwt-jwks-url': 'https://a.example' },
      `${one}; given are --jwt-secret and --jwt-jwks-url`,
    )
  })

  it('hold a secret that is long enough, which no error shows', async () => {
    const secret = 'short and secret'
    const pem = rsa().pem
    await refuses({ 'jwt-secret': pem }, '--jwt-secret holds a PEM key; give its file as --jwt-public-key')
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
        `--jwt-algorithms: "${name}" is not for a secret, which takes HS256, HS384, HS512`,
      )
    for (const key of [{ 'jwt-public-key': `${cwd}/rsa.pem` }, jwks])
      for (const name of ['none', 'HS256']) await refuses({ ...key, 'jwt-algorithms': ['RS256', name] }, /is not for/)
    await refuses({ 'jwt-public-key': `${cwd}/ec.pem`, 'jwt-algorithms': ['ES256'] }, /which takes ES384$/)
  })

  it('name a public key that is one, and strong enough', async t => {
    const weak = rsa(1024)
    const files = {
      'weak.pem': weak.pem,
      'private.pem': weak.privatePem,
      'odd.pem': 'hello',
      'curve.pem': ec('secp256k1').pem,
    }
    const cwd = folder(t, files)
    const at = (file: string) => ({ 'jwt-public-key': `${cwd}/${file}` })
    await refuses(at('weak.pem'), /must be an RSA key of 2048 bits or more, or an EC key of a NIST curve$/)
    await refuses(at('curve.pem'), /must be an RSA key/)
    await refuses(at('private.pem'), /holds a private key; give only its public key: openssl pkey -in FILE -pubout$/)
    await refuses(at('odd.pem'), /is not in PEM format: it has no line "-----BEGIN \.\.\."$/)
    await refuses(at('none.pem'), /cannot be read: ENOENT/)
  })

  it('name a key URL that nobody on the way can change', async () => {
    for (const url of ['http://issuer.example/keys', 'ftp://localhost/keys', 'file:///etc/passwd', 'keys'])
      await refuses({ 'jwt-jwks-url': url }, /takes https:\/\/\.\.\., or http:\/\/ on loopback, received "/)
    await refuses({ 'jwt-jwks-url': 'https://ann:word@a.example/' }, '--jwt-jwks-url takes no user and no password')
  })

  it('name a key URL without TLS on loopback only, however it is spelt', async () => {
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

  it('take elliptic keys as they are', async t => {
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

describe('jwt: whatever a client sends for a token', () => {
  const options = { 'jwt-issuer': [], 'jwt-audience': [], 'jwt-clock-tolerance': 5, 'jwt-max-token': 8192 }
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

  it('is refused, and no error of another kind: made-up ones', () =>
    fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 5 }), parts => isRefused(parts.join('.'))),
      { numRuns: 3000 },
    ))

  it('a good one with one character changed', async () => {
    const good = sign({ sub: 'ann', role: 'user' })
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 2), fc.constantFrom(...'AZaz09-_.='), async (at, character) => {
        fc.pre(good[at] !== character)
        return isRefused(`${good.slice(0, at)}${character}${good.slice(at + 1)}`)
      }),
      { numRuns: 1000 },
    )
  })

  it('a payload signed rightly that holds any JSON', () =>
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
  it('is decided by the first characters of a message, however long it is', () => {
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

  it('any message is one with a token or none, and no error', () =>
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
