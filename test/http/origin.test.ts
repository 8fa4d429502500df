import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isOriginAllowed } from '../../src/http/origin.ts'
import { readOriginPattern } from '../../src/http/origin-pattern.ts'

describe('isOriginAllowed', () => {
  it('takes no page without TLS for its own where it has TLS itself', () => {
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

  it('lets through a client without Origin: it is no browser', () => assert.equal(allowed(undefined), true))
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
  it('refuses what is no origin', () => {
    for (const origin of ['', 'localhost:9000:1', '//', '*']) assert.equal(allowed(origin), false, origin)
  })
  it('allows what is listed, and no other', () => {
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
  it('tells origins of a scheme that browsers do not know apart', () => {
    const list = ['chrome-extension://good', 'capacitor://localhost']
    assert.equal(allowed('chrome-extension://good', list), true)
    assert.equal(allowed('chrome-extension://evil', list), false)
    assert.equal(allowed('moz-extension://evil', list), false)
  })
  it('allows "null" when it is listed, and nothing else by that', () => {
    assert.equal(allowed('null', ['null']), true)
    for (const origin of ['NULL', 'http://null', 'file://', '']) assert.equal(allowed(origin, ['null']), false, origin)
  })
  it('refuses spoofs of what is listed', () => {
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
  it('does not mind the case, and knows a name by its punycode', () => {
    assert.equal(allowed('HTTPS://Good.Example', ['https://good.example']), true)
    assert.equal(allowed('https://xn--bcher-kva.example', ['https://bücher.example']), true)
    assert.equal(allowed('https://bucher.example', ['https://bücher.example']), false)
  })
  it('refuses every page when the request names no host', () => {
    assert.equal(isOriginAllowed('http://localhost:9000', undefined, []), false)
  })
})
