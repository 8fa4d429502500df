import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isOriginAllowed } from '../../src/http/origin.ts'
import { readOriginPattern } from '../../src/http/origin-pattern.ts'

describe('isOriginAllowed', () => {
  it('refuses an own page without TLS if the connection has TLS', () => {
    assert.equal(isOriginAllowed('http://example.com', 'example.com', [], true), false)
    assert.equal(isOriginAllowed('https://example.com', 'example.com', [], true), true)
    assert.equal(
      isOriginAllowed('http://example.com', 'example.com', [readOriginPattern('http://example.com')], true),
      true,
    )
    assert.equal(isOriginAllowed('http://example.com', 'example.com', []), true)
  })

  const allowed = (origin: string | undefined, list: readonly string[] = [], host = 'localhost:9000') =>
    isOriginAllowed(origin, host, list.map(readOriginPattern))

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
    for (const origin of ['', 'localhost:9000:1', '//', '*']) assert.equal(allowed(origin), false, origin)
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
  it('allows "null" when it is listed, and no other origin', () => {
    assert.equal(allowed('null', ['null']), true)
    for (const origin of ['NULL', 'http://null', 'file://', '']) assert.equal(allowed(origin, ['null']), false, origin)
  })
  it('refuses spoofs of listed origins', () => {
    for (const origin of [
      'https://good.example@evil.example',
      'https://evil@good.example',
      'https://good.example:443@evil.example',
      'https://good.example.',
      'https://good.example/',
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
    assert.equal(isOriginAllowed('http://localhost:9000', undefined, []), false)
  })
})
