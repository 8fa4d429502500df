import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { JwtApi } from '../../../filters/jwt.ts'
import type { FilterModule, Host } from '../../../src/contract/filter.ts'
import type { Caller, testServer } from '../../../src/testing/index.ts'
import { launch, refusal } from '../../support/cli.ts'

import { startTestServer } from '../../support/test-server.ts'
import { forgeSigned, SECRET, sign } from '../../support/tokens.ts'
import { upgrade } from '../../support/upgrade.ts'

async function serve(t: TestContext, options: object = {}, filters: Parameters<typeof testServer>[0] = ['echo']) {
  let api: JwtApi | undefined
  const user: FilterModule = {
    uses: ['jwt'],
    setup: (host: Host) => {
      api = host.use('jwt')
    },
  }
  const made = await startTestServer(t, ['jwt', user, ...filters], { 'jwt-secret': SECRET, ...options })
  return { ...made, revoke: (...given: Parameters<JwtApi['revoke']>) => api!.revoke(...given) }
}

const by = (token: string): Caller => ({ headers: { authorization: `Bearer ${token}` } })
const now = () => Math.floor(Date.now() / 1000)

describe('jwt: a numeric sub or jti', () => {
  for (const [sub, identity] of [
    [42, '42'],
    [0, '0'],
    [-7, '-7'],
    [9_007_199_254_740_991, '9007199254740991'],
    ['42', '42'],
  ] as const)
    it(`sub ${JSON.stringify(sub)} is the identity "${identity}"`, async t => {
      const { connect } = await serve(t)
      const { client } = await connect(by(forgeSigned({ sub, exp: now() + 60 })))
      assert.deepEqual([client.identity, client.state.user?.sub], [identity, identity])
    })

  for (const claims of [
    '"sub":9007199254740993',
    '"sub":1.5',
    '"sub":1e400',
    '"sub":true',
    '"sub":null',
    '"sub":""',
    '"sub":[42]',
    '"jti":9007199254740993',
    '"jti":{}',
    '"iss":42',
  ])
    it(`${claims} is refused`, async t => {
      const { connect } = await serve(t)
      const text = `{"exp":${now() + 60},${claims}}`
      await assert.rejects(connect(by(forgeSigned(text))), /401: token refused: malformed/)
    })

  it('is the same subject after a refresh, and can be revoked', async t => {
    const { connect, revoke } = await serve(t)
    const token = (claims: object) => sign({ iat: now(), ...claims })
    const ann = await connect(by(token({ sub: 42, jti: 7 })))
    await ann.say(JSON.stringify({ auth: token({ sub: '42', jti: 8 }) }))
    assert.equal(JSON.parse(String(ann.received[0])).auth, 'ok')
    await revoke({ jti: '8' }, 60)
    assert.deepEqual(ann.closed, { code: 4403, reason: 'revoked' })
    await assert.rejects(connect(by(token({ sub: 42, jti: 8 }))), /401: token refused: revoked/)
    await revoke({ sub: '42' }, 60)
    await assert.rejects(connect(by(token({ sub: 42 }))), /401: token refused: revoked/)
  })
})

describe('jwt --jwt-topics', () => {
  for (const [name, claims, topics] of [
    ['realm_access.roles', { realm_access: { roles: ['a', 'b'] } }, ['a', 'b']],
    ['app.rooms', { 'app.rooms': 'a' }, ['a']],
    ['scope', { scope: 'a b' }, ['a', 'b']],
    ['rooms', { rooms: 'a b' }, ['a b']],
    ['team', { team: 7 }, ['7']],
    ['rooms', { rooms: ['a', '', null, 8] }, ['a', '8']],
    ['rooms', { rooms: { a: 1 } }, []],
    ['rooms', { rooms: ['@everyone', 'a'] }, ['a']],
  ] as const)
    it(`${name} of ${JSON.stringify(claims)} joins ${JSON.stringify(topics)}`, async t => {
      const { connect } = await serve(t, { 'jwt-topics': name })
      assert.deepEqual([...(await connect(by(sign(claims)))).client.topics], topics)
    })
})

describe('broadcast-by-token --broadcast-by-token-claim', () => {
  for (const [name, claims, group] of [
    ['org.id', { org: { id: 'red' } }, 'red'],
    ['org.id', { 'org.id': 'red', org: { id: 'blue' } }, 'red'],
    ['team', { team: 7 }, undefined],
    ['team', { team: ['red'] }, undefined],
    ['team.x', { team: 'red' }, undefined],
    ['tenant', { tenant: 2 ** 53 }, undefined],
  ] as const)
    it(`${name} of ${JSON.stringify(claims)} is ${group}`, async t => {
      const { connect } = await serve(t, { 'broadcast-by-token-claim': name }, ['broadcast-by-token'])
      assert.equal((await connect(by(sign(claims)))).client.state.token, group)
    })
})

describe('jwt --jwt-require', () => {
  for (const [required, claims, isIn] of [
    [['client_id=abc'], { client_id: 'abc' }, true],
    [['client_id=abc'], { client_id: 'abcd' }, false],
    [['client_id=abc'], {}, false],
    [['client_id=abc,def'], { client_id: 'def' }, true],
    [['client_id=abc,def'], { client_id: 'abc,def' }, false],
    [['client_id=abc', 'token_use=access'], { client_id: 'abc', token_use: 'access' }, true],
    [['client_id=abc', 'token_use=access'], { client_id: 'abc', token_use: 'id' }, false],
    [['scope=chat:read', 'scope=chat:write'], { scope: 'chat:write chat:read' }, true],
    [['scope=chat:read', 'scope=chat:write'], { scope: 'chat:read' }, false],
    [['realm_access.roles=admin'], { realm_access: { roles: ['user', 'admin'] } }, true],
    [['realm_access.roles=admin'], { realm_access: { roles: 'administrator' } }, false],
    [['https://ex.com/app=chat'], { 'https://ex.com/app': 'chat' }, true],
    [['email_verified=true'], { email_verified: true }, true],
    [['email_verified=true'], { email_verified: false }, false],
    [['level=3'], { level: 3 }, true],
    [['query=a=b'], { query: 'a=b' }, true],
    [['__proto__.x=1'], {}, false],
    [['constructor.name=Object'], {}, false],
  ] as const)
    it(`${required.join(' ')} ${isIn ? 'admits' : 'refuses'} ${JSON.stringify(claims)}`, async t => {
      const { connect } = await serve(t, { 'jwt-require': required })
      const connected = connect(by(sign({ sub: 'ann', ...claims })))
      if (isIn) assert.equal((await connected).client.identity, 'ann')
      else await assert.rejects(connected, /401: token refused: wrong claim/)
    })

  it('also applies to a first message and to a refresh', async t => {
    const { connect } = await serve(t, { 'jwt-require': ['client_id=abc'], 'jwt-first-message': true })
    const [ann, eve] = [await connect(), await connect()]
    await eve.say(JSON.stringify({ auth: sign({ sub: 'eve' }) }))
    assert.deepEqual(eve.closed, { code: 4401, reason: 'wrong claim' })
    await ann.say(JSON.stringify({ auth: sign({ sub: 'ann', client_id: 'abc' }) }))
    await ann.say(JSON.stringify({ auth: sign({ sub: 'ann', client_id: 'x' }) }))
    assert.equal(ann.received[1], '{"auth":"error","reason":"wrong claim"}')
  })

  it('is read from the environment, separated by spaces', async t => {
    const env = { FWS_JWT_SECRET: SECRET, FWS_JWT_REQUIRE: 'client_id=abc,def token_use=access' }
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo'], { env })
    const bearer = (claims: object) => ({ headers: { authorization: `Bearer ${sign(claims)}` } })
    assert.equal((await upgrade(server.url, bearer({ client_id: 'def', token_use: 'access' }))).status, 101)
    const { status, body } = await upgrade(server.url, bearer({ client_id: 'def', token_use: 'id' }))
    assert.deepEqual([status, body], [401, 'token refused: wrong claim\n'])
  })

  for (const text of ['client_id', '=abc', 'client_id=', 'client_id=a,', 'client_id=,a', ','])
    it(`refuses "${text}"`, async () =>
      assert.match(
        await refusal(['-f', 'jwt', 'echo', '--jwt-secret', SECRET, '--jwt-require', text]),
        new RegExp(`--jwt-require takes NAME=VALUE, such as client_id=abc, received "${text}"$`),
      ))
})
