import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { describe, it } from 'node:test'
import { originProblem } from '../../src/http/origin.ts'
import { readOriginPattern } from '../../src/http/origin-pattern.ts'

const problem = (headers: IncomingHttpHeaders, list: readonly string[] = [], isSecure = false): string | undefined =>
  originProblem(headers, list.map(readOriginPattern), isSecure)

describe('originProblem', () => {
  const allowed = (origin: string | undefined, list: readonly string[] = [], host = 'localhost:9000') =>
    problem({ origin, host }, list) === undefined

  for (const [origin, host, isSecure, isAllowed] of [
    ['https://example.com', 'example.com', true, true],
    ['https://example.com', 'example.com:443', true, true],
    ['https://example.com:8443', 'example.com:8443', true, true],
    ['wss://example.com', 'example.com', true, true],
    ['WSS://Example.com:443/', 'example.com', true, true],
    ['https://example.com/', 'example.com', true, true],
    ['http://example.com', 'example.com', true, false],
    ['ws://example.com', 'example.com', true, false],
    ['http://example.com:443', 'example.com:443', true, false],
    ['https://example.com', 'example.com:80', true, false],
    ['http://example.com', 'example.com', false, true],
    ['http://example.com:80', 'example.com', false, true],
    ['ws://example.com:8080', 'example.com:8080', false, true],
    ['wss://example.com', 'example.com', false, true],
    ['http://example.com/', 'example.com:80', false, true],
    ['https://example.com', 'example.com:80', false, true],
    ['https://[::1]', '[::1]:80', false, true],
    ['https://example.com:8443', 'example.com:80', false, false],
    ['https://example.com', 'example.com:8080', false, false],
    ['http://example.com', 'example.com:443', false, false],
    ['http://example.com:443', 'example.com', false, false],
    ['https://example.com.evil', 'example.com:80', false, false],
    ['https://evil.example', 'example.com:80', false, false],
    ['file://', 'localhost', false, false],
    ['file://localhost', 'localhost', false, false],
    ['capacitor://localhost', 'localhost', false, false],
    ['wsss://example.com', 'example.com', false, false],
  ] as const) {
    const where = isSecure ? 'with TLS' : 'without TLS'
    it(`${isAllowed ? 'allows' : 'refuses'} ${origin} for Host ${host} ${where}`, () =>
      assert.equal(problem({ origin, host }, [], isSecure) === undefined, isAllowed))
  }

  it('allows an origin without TLS that is listed, over TLS', () => {
    for (const origin of ['http://example.com', 'ws://example.com', 'http://example.com:80/'])
      assert.equal(problem({ origin, host: 'example.com' }, ['http://example.com'], true), undefined, origin)
  })

  const passHost = 'if a proxy replaced Host, pass it on (nginx: proxy_set_header Host $http_host), or '
  for (const [what, origin, host, isSecure, why] of [
    ['the host', 'http://a.example', 'b.example:80', false, 'its host is not that of the Host header, b.example:80'],
    [
      'the port',
      'http://a.example',
      'a.example:8080',
      false,
      'its port is not that of the Host header, a.example:8080',
    ],
    ['both', 'http://a.example:1', 'b.example:2', false, 'its host is not that of the Host header, b.example:2'],
    ['the host, an upstream', 'http://a.example', 'backend', false, 'its host is not that of the Host header, backend'],
    ['the host, with TLS', 'https://a.example', '[::1]', true, 'its host is not that of the Host header, [::1]'],
    [
      'the port, with TLS',
      'https://a.example:444',
      'a.example',
      true,
      'its port is not that of the Host header, a.example',
    ],
    [
      'the host, and TLS ends before',
      'https://a.example',
      'localhost',
      false,
      'its host is not that of the Host header, localhost',
    ],
  ] as const) {
    it(`says what differs, and what proxies must do: ${what}`, () =>
      assert.equal(
        problem({ origin, host }, [], isSecure),
        `origin ${origin} is not allowed: ${why}; ${passHost}see --origins`,
      ))
  }

  for (const [what, origin, isSecure, why] of [
    ['the scheme', 'http://a.example', true, ': its scheme is http, which must be listed for connections with TLS'],
    ['the scheme of an app', 'file://', false, ': its scheme is not http or https'],
    ['all', 'null', false, ''],
  ] as const) {
    it(`says what differs: ${what}`, () =>
      assert.equal(
        problem({ origin, host: 'a.example' }, [], isSecure),
        `origin ${origin} is not allowed${why}; see --origins`,
      ))
  }

  it('allows a client without Origin, which is not a browser', () => assert.equal(allowed(undefined), true))
  it("allows the server's own origin", () => assert.equal(allowed('http://localhost:9000'), true))
  it('allows its own host under https too: a proxy may end TLS', () => {
    assert.equal(allowed('https://chat.example', [], 'chat.example'), true)
    assert.equal(allowed('https://chat.example', [], 'chat.example:443'), true)
  })
  it('refuses another port, another name, a name that begins or ends alike', () => {
    for (const origin of [
      'http://localhost:9001',
      'http://localhost',
      'http://evil.example',
      'http://localhost:9000.evil.example',
      'http://evil.localhost:9000',
    ]) {
      assert.equal(allowed(origin), false, origin)
    }
  })
  it('refuses the opaque origin "null" of sandboxed frames and files', () => assert.equal(allowed('null'), false))
  it('refuses values that are not origins', () => {
    for (const origin of ['', 'localhost:9000:1', '//', '*', 'https://', 'http:///', 'file:', 'file:///home/me'])
      assert.equal(allowed(origin), false, origin)
  })
  it('allows only listed origins', () => {
    const list = ['https://one.example', 'https://two.example:8443']
    assert.equal(allowed('https://one.example', list), true)
    assert.equal(allowed('https://one.example:443', list), true)
    assert.equal(allowed('https://two.example:8443', list), true)
    assert.equal(allowed('http://one.example', list), false)
    assert.equal(allowed('https://two.example', list), false)
    assert.equal(allowed('https://sub.one.example', list), false)
  })
  it('allows everything with *', () => {
    assert.equal(allowed('http://evil.example', ['*']), true)
    assert.equal(allowed('null', ['*']), true)
  })
  it('distinguishes origins with an unknown scheme', () => {
    const list = ['chrome-extension://good', 'capacitor://localhost']
    assert.equal(allowed('chrome-extension://good', list), true)
    assert.equal(allowed('chrome-extension://evil', list), false)
    assert.equal(allowed('moz-extension://evil', list), false)
  })
  for (const name of ['file://', 'FILE:///', 'qrc://', 'content://']) {
    it(`allows ${name} when it is listed, and only that`, () => {
      const scheme = name.replace(/\/*$/, '')
      for (const origin of [`${scheme}//`, `${scheme}///`, `${scheme.toUpperCase()}//`])
        assert.equal(allowed(origin, [name]), true, origin)
      for (const origin of ['null', 'about://', 'http://localhost', `${scheme}//evil.example`, `${scheme}///evil`])
        assert.equal(allowed(origin, [name]), false, origin)
    })
  }
  it('allows "null" when it is listed, and no other origin', () => {
    assert.equal(allowed('null', ['null']), true)
    for (const origin of ['NULL', 'http://null', 'file://', 'null/', ''])
      assert.equal(allowed(origin, ['null']), false, origin)
  })
  it('refuses spoofs of listed origins', () => {
    for (const origin of [
      'https://good.example@evil.example',
      'https://evil@good.example',
      'https://good.example:443@evil.example',
      'https://good.example.',
      'https://good.example//',
      'https://good.example/path',
      'https://good.example?',
      'https://good.example#',
      'https://good%2eexample',
      'https://good.exam\tple',
      'https:good.example',
      'https:///good.example',
      'https:\\\\good.example',
      'https://good.example, https://evil.example',
      'https://evil.example, https://good.example',
      ' https://good.example',
      'https://xn--good-example',
      'https://göod.example',
    ]) {
      assert.equal(allowed(origin, ['https://good.example']), false, origin)
    }
  })
  it('is case-insensitive, and compares punycode', () => {
    assert.equal(allowed('HTTPS://Good.Example', ['https://good.example']), true)
    assert.equal(allowed('https://xn--bcher-kva.example', ['https://bücher.example']), true)
    assert.equal(allowed('https://bucher.example', ['https://bücher.example']), false)
  })
  it('refuses all pages if the request has no host', () => {
    assert.equal(
      problem({ origin: 'http://localhost:9000' }),
      `origin http://localhost:9000 is not allowed: its host is not that of the Host header, ; ${passHost}see --origins`,
    )
  })
})
