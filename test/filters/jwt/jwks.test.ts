import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { RemoteKeys } from '../../../filters/jwt/jwks.ts'
import { notAKeySet } from '../../../filters/jwt/not-a-key-set.ts'
import { launch } from '../../support/cli.ts'
import { until } from '../../support/peer.ts'
import { ec, jwk, type KeyPair, rsa, sign } from '../../support/tokens.ts'
import { upgrade } from '../../support/upgrade.ts'

const keysOf = (...keys: object[]) => JSON.stringify({ keys })
const rs256 = (pair: KeyPair, kid?: unknown) => sign({ sub: 'ann' }, { key: pair.privateKey, algorithm: 'RS256', kid })
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

/** The key endpoint of an issuer; `answer` can change at any time. */
async function issuer(t: TestContext, body: string) {
  const state = { fetches: 0, answer: (res: ServerResponse): void => void res.end(body) }
  const http = createServer((_, res) => {
    state.fetches++
    state.answer(res)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const stop = () => {
    http.close()
    http.closeAllConnections()
  }
  t.after(stop)
  const says = (text: string) => {
    state.answer = res => void res.end(text)
  }
  return { state, says, stop, url: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/keys`) }
}

/** Remote keys of an issuer, with a fake clock. */
async function remote(t: TestContext, body: string, limits: object = {}) {
  const made = await issuer(t, body)
  const warnings: string[] = []
  const lines: string[] = []
  const clock = { ms: 1000 }
  const keys = new RemoteKeys(made.url, {
    warn: (error, line) => {
      warnings.push(String(error instanceof Error ? error.message : error))
      lines.push(line)
    },
    now: () => clock.ms,
    ...limits,
  })
  const find = (kid?: string, alg = 'RS256') => keys.find({ kid, alg })
  return { ...made, warnings, lines, clock, find }
}

const refused = (reason: string) => ({ message: `token refused: ${reason}` })

describe('jwt: keys of a URL', () => {
  const [a, b] = [rsa(), rsa()]

  it('are fetched once for all tokens', async t => {
    const { state, find } = await remote(t, keysOf(jwk(a, { kid: 'a' }), jwk(b, { kid: 'b' })))
    const found = await Promise.all(['a', 'b', 'a'].map(kid => find(kid)))
    assert.ok(found[0]!.equals(a.publicKey) && found[1]!.equals(b.publicKey))
    assert.equal(state.fetches, 1)
  })

  it('rotate: an unknown id fetches the set again, at most once per cooldown', async t => {
    const { state, says, clock, find } = await remote(t, keysOf(jwk(a, { kid: 'a' })))
    await find('a')
    says(keysOf(jwk(b, { kid: 'b' })))
    await assert.rejects(find('b'), refused('unknown key'))
    clock.ms += 10_000
    assert.ok((await find('b')).equals(b.publicKey))
    await assert.rejects(find('a'), refused('unknown key'))
    assert.equal(state.fetches, 2)
  })

  it('are not fetched for each unknown id, and known ids still match', async t => {
    const { state, find } = await remote(t, keysOf(jwk(a, { kid: 'a' })))
    const odd = ['../../etc/passwd', 'http://evil.example/', '__proto__', 'x'.repeat(10_000), '']
    for (const kid of odd) await assert.rejects(find(kid), refused('unknown key'))
    await find('a')
    assert.equal(state.fetches, 1)
  })

  it('are fetched again after ten minutes; a removed one is no longer accepted', async t => {
    const { says, clock, find } = await remote(t, keysOf(jwk(a, { kid: 'a' }), jwk(b, { kid: 'b' })))
    await find('a')
    says(keysOf(jwk(b, { kid: 'b' })))
    clock.ms += 600_001
    await assert.rejects(find('a'), refused('unknown key'))
  })

  it('stay valid for an hour while fetches fail', async t => {
    const { state, clock, find, warnings } = await remote(t, keysOf(jwk(a, { kid: 'a' })))
    await find('a')
    state.answer = res => void res.writeHead(500).end()
    clock.ms += 3_600_000
    await find('a')
    await assert.rejects(find('b'), refused('key unavailable'))
    clock.ms += 10_001
    await assert.rejects(find('a'), refused('key unavailable'))
    assert.deepEqual(warnings, ['the response has status 500', 'the response has status 500'])
  })

  it('match a token without an id only if there is a single key', async t => {
    const { says, clock, find } = await remote(t, keysOf(jwk(a, {})))
    await find()
    says(keysOf(jwk(a, { kid: 'a' }), jwk(b, { kid: 'b' })))
    clock.ms += 600_001
    await assert.rejects(find(), refused('unknown key'))
  })

  it('are limited to the algorithm in the set, and to signatures', async t => {
    const weak = rsa(1024)
    const curve = ec()
    const { find } = await remote(
      t,
      keysOf(
        jwk(a, { kid: 'a', alg: 'RS512' }),
        jwk(b, { kid: 'b', use: 'enc' }),
        jwk(weak, { kid: 'weak' }),
        jwk(curve, { kid: 'ec' }),
        { kty: 'oct', k: 'c2VjcmV0', kid: 'secret' },
        { kty: 'RSA', n: 'x', kid: 'broken' },
        7 as never,
      ),
    )
    await find('a', 'RS512')
    await find('ec', 'ES256')
    for (const [kid, alg] of [
      ['a', 'RS256'],
      ['b', 'RS256'],
      ['weak', 'RS256'],
      ['ec', 'ES384'],
      ['secret', 'HS256'],
      ['broken', 'RS256'],
    ])
      await assert.rejects(find(kid, alg), refused('unknown key'), `${kid} ${alg}`)
  })

  for (const [what, answer, warning] of [
    ['a huge answer', (res: ServerResponse) => endless(res), /larger than 1048576 bytes/],
    ['an answer that never ends', (res: ServerResponse) => void res.write('{'), /timeout/],
    ['no answer', () => {}, /timeout/],
    ['a redirect', (res: ServerResponse) => void res.writeHead(302, { location: '/other' }).end(), /status 302/],
    ['no JSON', (res: ServerResponse) => void res.end('keys'), /JSON/],
    ['JSON that is not a set', (res: ServerResponse) => void res.end('{"keys":{}}'), /not a key set/],
    ['null', (res: ServerResponse) => void res.end('null'), /not a key set/],
    ['an empty set', (res: ServerResponse) => void res.end('{"keys":[]}'), /no signature keys/],
  ] as const)
    it(`${what} is not a key set: key unavailable`, async t => {
      const { state, find, warnings } = await remote(t, '', { timeoutMs: warning.test('timeout') ? 200 : 10_000 })
      state.answer = answer
      await assert.rejects(find('a'), refused('key unavailable'))
      // No second fetch within the cooldown; one that times out may end before it arrives.
      await assert.rejects(find('a'), refused('key unavailable'))
      assert.ok(state.fetches === 1 || (state.fetches === 0 && warning.test('timeout')), `${state.fetches} fetches`)
      assert.match(warnings.join('\n'), warning)
    })
})

describe('jwt: a JWKS URL that leads to something else', () => {
  const KEY = jwk(rsa(), { kid: 'a' })
  const X509 = JSON.stringify({ a: '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n' })
  const DISCOVERY = "the issuer's /.well-known/openid-configuration names the URL as jwks_uri"
  const FORM = 'a key set has the form {"keys":[...]}'
  const setTo = (url: string) => `set --jwt-jwks-url to ${url}`
  const found = (what: string) => `the response is ${what}, not a key set`
  const at = 'https://issuer.example/x/'

  for (const [what, text, url, message, hint] of [
    [
      'OpenID discovery',
      '{"issuer":"x","jwks_uri":"https://a.example/jwks?p=1"}',
      at,
      found('a discovery document'),
      setTo('https://a.example/jwks?p=1'),
    ],
    ['discovery with an odd URL', '{"jwks_uri":"javascript:alert(1)"}', at, found('a discovery document'), DISCOVERY],
    [
      'discovery with a password',
      '{"jwks_uri":"https://a:b@c.example/"}',
      at,
      found('a discovery document'),
      DISCOVERY,
    ],
    [
      'discovery with a long URL',
      `{"jwks_uri":"https://a.example/${'x'.repeat(500)}"}`,
      at,
      found('a discovery document'),
      DISCOVERY,
    ],
    [
      'Firebase',
      X509,
      'https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com',
      found('a map of X.509 certificates'),
      setTo('https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com'),
    ],
    [
      'Google',
      X509,
      'https://www.googleapis.com/oauth2/v1/certs',
      found('a map of X.509 certificates'),
      setTo('https://www.googleapis.com/oauth2/v3/certs'),
    ],
    ['another map of certificates', X509, at, found('a map of X.509 certificates'), DISCOVERY],
    [
      'a Keycloak realm',
      '{"realm":"main","public_key":"MII","token-service":"x"}',
      'https://k.example/realms/main?key=hidden',
      found('a realm of Keycloak'),
      setTo('https://k.example/realms/main/protocol/openid-connect/certs'),
    ],
    ['one key', JSON.stringify(KEY), at, found('a single key'), FORM],
    ['an array of keys', JSON.stringify([KEY]), at, found('an array'), FORM],
    ['an object', '{"error":"no"}', at, 'the response is not a key set', FORM],
    ['an empty object', '{}', at, 'the response is not a key set', FORM],
    ['null', 'null', at, 'the response is not a key set', FORM],
    ['a string', '"-----BEGIN CERTIFICATE"', at, 'the response is not a key set', FORM],
  ] as const)
    it(`is recognized: ${what}`, () => {
      const error = notAKeySet(JSON.parse(text), new URL(url))
      assert.deepEqual([error.message, error.hint], [message, hint])
    })

  for (const [what, text, message, hint] of [
    ['HTML', '<!doctype html><title>Sign in</title>', found('a page of HTML or XML'), DISCOVERY],
    ['SAML metadata', '\n<?xml version="1.0"?><EntityDescriptor/>', found('a page of HTML or XML'), DISCOVERY],
    ['a PEM key', rsa().pem, found('a PEM file'), 'save it, and set --jwt-public-key to the file'],
  ] as const)
    it(`is recognized: ${what}`, async t => {
      const { find, warnings, lines } = await remote(t, text)
      await assert.rejects(find('a'), refused('key unavailable'))
      assert.deepEqual([warnings, lines], [[message], [`cannot fetch the keys of the issuer; ${hint}`]])
    })

  it('is advised about once', async t => {
    const { find, warnings, lines, clock } = await remote(t, '{"jwks_uri":"https://a.example/jwks"}')
    await assert.rejects(find('a'), refused('key unavailable'))
    clock.ms += 10_001
    await assert.rejects(find('a'), refused('key unavailable'))
    assert.deepEqual(warnings, Array(2).fill(found('a discovery document')))
    assert.deepEqual(lines, [
      'cannot fetch the keys of the issuer; set --jwt-jwks-url to https://a.example/jwks',
      'cannot fetch the keys of the issuer',
    ])
  })

  for (const [status, headers, message, hint] of [
    [404, {}, 'the response has status 404', DISCOVERY],
    [
      301,
      { location: 'https://b.example/keys' },
      'the response has status 301, and redirects are not followed',
      setTo('https://b.example/keys'),
    ],
    [302, { location: 'http://[' }, 'the response has status 302, and redirects are not followed', DISCOVERY],
    [500, {}, 'the response has status 500', undefined],
  ] as const)
    it(`status ${status} ${JSON.stringify(headers)} is explained, and not followed`, async t => {
      const { state, find, warnings, lines } = await remote(t, '')
      state.answer = res => void res.writeHead(status, headers).end()
      await assert.rejects(find('a'), refused('key unavailable'))
      const line = 'cannot fetch the keys of the issuer'
      assert.deepEqual([warnings, lines], [[message], [hint === undefined ? line : `${line}; ${hint}`]])
      assert.equal(state.fetches, 1)
    })

  it('is in the log of a server that starts, before any client', async t => {
    const { url } = await issuer(t, '{"jwks_uri":"https://a.example/jwks"}')
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo', '--jwt-jwks-url', url.href])
    const line = () => server.logged().find(({ level }) => level === 50)
    await until(() => line() !== undefined, 'a line in the log')
    assert.equal(line()!.msg, 'cannot fetch the keys of the issuer; set --jwt-jwks-url to https://a.example/jwks')
  })
})

function endless(res: ServerResponse): void {
  const chunk = ' '.repeat(65_536)
  const write = () => {
    while (!res.destroyed && res.write(chunk)) {}
  }
  res.on('drain', write)
  write()
}

describe('jwt --jwt-jwks-url', () => {
  const pair = rsa()
  const argv = (url: URL) => ['-p', '0', '-f', 'jwt', 'echo', '--log-level', 'trace', '--jwt-jwks-url', url.href]

  it('admits clients with a token of one of the keys, also while the issuer is down', async t => {
    const { url, stop } = await issuer(t, keysOf(jwk(pair, { kid: 'a' })))
    const server = await launch(t, argv(url))
    const ann = await upgrade(server.url, bearer(rs256(pair, 'a')))
    assert.equal(ann.status, 101)
    const eve = await upgrade(server.url, bearer(rs256(pair, '../../a')))
    assert.deepEqual([eve.status, eve.body], [401, 'token refused: unknown key\n'])
    const confused = sign({}, { key: pair.pem, kid: 'a' })
    assert.equal((await upgrade(server.url, bearer(confused))).body, 'token refused: wrong algorithm\n')
    stop()
    assert.equal((await upgrade(server.url, bearer(rs256(pair, 'a')))).status, 101)
    ann.peer!.send('still here')
    assert.deepEqual(await ann.peer!.get(1), ['still here'])
    const warned = server.logged().filter(({ level }) => level === 40)
    assert.deepEqual(
      warned.map(({ msg }) => msg),
      ['without --jwt-audience or --jwt-require, tokens that the issuer signed for other services are accepted'],
    )
  })

  it('answers 503 with Retry-After while there are no keys, and logs the cause', async t => {
    const { url, stop } = await issuer(t, '')
    stop()
    const server = await launch(t, argv(url))
    const token = rs256(pair, 'a')
    const { status, headers, body } = await upgrade(server.url, bearer(token))
    assert.deepEqual([status, body], [503, 'token refused: key unavailable\n'])
    assert.equal(headers['retry-after'], '5')
    assert.equal(headers['www-authenticate'], undefined)
    const line = () => server.logged().find(({ msg }) => msg === 'cannot fetch the keys of the issuer')
    await until(() => line() !== undefined, 'a line in the log')
    assert.match(JSON.stringify(line()!.err), /ECONNREFUSED/)
    assert.ok(!server.stderr.includes(token.split('.')[1]!))
  })
})
