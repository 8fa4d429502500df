import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { originUrl, readOriginPattern } from '../../src/http/origin-pattern.ts'

const matches = (pattern: string, origin: string) => readOriginPattern(pattern)(originUrl(origin), origin)

describe('https://*.example.com', () => {
  for (const origin of [
    'https://a.example.com',
    'https://a.example.com/',
    'wss://a.example.com',
    'https://A.Example.Com',
    'https://xn--bcher-kva.example.com',
  ]) {
    it(`is ${origin}`, () => assert.equal(matches('https://*.example.com', origin), true))
  }
  for (const origin of [
    'https://example.com',
    'https://a.b.example.com',
    'https://evil-example.com',
    'https://aexample.com',
    'https://a.example.com.evil.org',
    'https://a.example.com.',
    'https://.example.com',
    'https://..example.com',
    'https://a%2eb.example.com',
    'https://a@example.com',
    'https://evil.org/a.example.com',
    'https://evil.org#.example.com',
    'https://evil.org\\.example.com',
    'http://a.example.com',
    'ws://a.example.com',
    'wss://a.example.com:8443',
    'https://a.example.com:8443',
    'null',
    '',
  ]) {
    it(`is not ${JSON.stringify(origin)}`, () => assert.equal(matches('https://*.example.com', origin), false))
  }
})

describe('an origin pattern', () => {
  it('treats the default port as none, and any other as different', () => {
    assert.equal(matches('https://*.example.com', 'https://a.example.com:443'), true)
    assert.equal(matches('https://*.example.com:8443', 'https://a.example.com:8443'), true)
    assert.equal(matches('https://*.example.com:8443', 'https://a.example.com'), false)
  })
  it('may have several wildcards, each for one label', () => {
    assert.equal(matches('https://*.eu.*.example.com', 'https://a.eu.b.example.com'), true)
    assert.equal(matches('https://*.eu.*.example.com', 'https://a.us.b.example.com'), false)
  })
  it('may end with a slash, as copied from an address bar', () => {
    assert.equal(matches('https://example.com/', 'https://example.com'), true)
  })
  it('may have the scheme of the WebSocket', () => {
    assert.equal(matches('wss://example.com', 'https://example.com'), true)
    assert.equal(matches('ws://*.example.com', 'http://a.example.com'), true)
    assert.equal(matches('ws://example.com', 'https://example.com'), false)
  })

  for (const entry of [
    '',
    'example.com',
    '*.example.com',
    'localhost:3000',
    'https://',
    'https://example.com/path',
    'https://user@example.com',
    'https://example.com?',
    'https://example.com:99999',
    'https://*.0.0.1',
    'https//example.com',
  ]) {
    it(`is not ${JSON.stringify(entry)}`, () => {
      assert.throws(() => readOriginPattern(entry), {
        code: 'ERR_OPTION',
        message: `--origins takes * or origins such as https://example.com, received "${entry}"`,
      })
    })
  }
  for (const entry of [
    'https://*',
    'https://*.com',
    'https://*.localhost:3000',
    'https://a.*.com',
    'https://example.*',
    'https://*.*',
    'https://*.com.',
    'https://*.example.com.',
    'https://a*.example.com',
    'https://**.example.com',
    'chrome-extension://*',
  ]) {
    it(`does not accept the wildcard of ${entry}`, () => {
      assert.throws(() => readOriginPattern(entry), {
        code: 'ERR_OPTION',
        message: `--origins: * must be a complete label and not one of the last two, as in https://*.example.com, received "${entry}"`,
      })
    })
  }
})
