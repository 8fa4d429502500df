import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FilterModule } from '../../src/index.ts'
import { isHostAllowed, isHostHeader, isLoopback } from '../../src/kit/index.ts'
import { cheap } from '../support/cpu.ts'
import { ask } from '../support/frames.ts'
import { serve } from '../support/peer.ts'

/** Every spelling with three answers: is the host loopback; is the string a Host header; is it answered on 127.0.0.1. */
const SPELLINGS: readonly (readonly [string, boolean, boolean, boolean])[] = [
  ['localhost', true, true, true],
  ['LocalHost', true, true, true],
  ['localhost.', true, true, true],
  ['127.0.0.1', true, true, true],
  ['127.8.9.1', true, true, true],
  ['[::1]', true, true, true],
  ['[0:0:0:0:0:0:0:1]', true, true, true],
  ['[0000:0000:0000:0000:0000:0000:0000:0001]', true, true, true],
  ['[::ffff:127.0.0.1]', true, true, true],
  ['[::FFFF:127.0.0.1]', true, true, true],
  ['[::ffff:7f00:1]', true, true, true],
  ['[0:0:0:0:0:ffff:127.1.2.3]', true, true, true],
  // Browsers resolve these to loopback; other resolvers may ask DNS.
  ['app.localhost', false, true, true],
  ['App.LocalHost.', false, true, true],
  // Without brackets an address to bind to, but not a Host header.
  ['::1', true, false, false],
  ['0:0:0:0:0:0:0:1', true, false, false],
  ['::ffff:127.0.0.1', true, false, false],
  ['::ffff:7f00:1', true, false, false],
  // Spellings of 127.0.0.1 that only an operator writes: proxies read them differently.
  ['127.1', true, false, false],
  ['127.0.1', true, false, false],
  ['0177.0.0.1', true, false, false],
  ['0x7f.1', true, false, false],
  ['0x7F.0x0.0x0.0x1', true, false, false],
  ['2130706433', true, false, false],
  ['017700000001', true, false, false],
  ['0x7f000001', true, false, false],
  ['127.0.0.1.', true, false, false],
  // Only a Host header has a port.
  ['localhost:9000', false, true, true],
  ['localhost:1', false, true, true],
  ['localhost:65535', false, true, true],
  ['localhost:', false, true, true],
  ['LOCALHOST.:80', false, true, true],
  ['127.0.0.1:9000', false, true, true],
  ['[::1]:9000', false, true, true],
  ['dev.localhost:1', false, true, true],
  ['localhost:0', false, false, false],
  ['localhost:65536', false, false, false],
  ['localhost:99999', false, false, false],
  ['localhost:100000', false, false, false],
  ['localhost:80:80', false, false, false],
  ['localhost:+80', false, false, false],
  ['localhost:-1', false, false, false],
  ['localhost:8o', false, false, false],
  ['localhost: 80', false, false, false],
  ['127.1:9000', false, false, false],
  // Other hosts.
  ['evil.example', false, true, false],
  ['evil.example:9000', false, true, false],
  ['localhost.evil.example', false, true, false],
  ['127.0.0.1.example.com', false, true, false],
  ['127.example.com', false, true, false],
  ['notlocalhost', false, true, false],
  ['local_host', false, true, false],
  ['localhost-', false, true, false],
  ['xn--bcher-kva.example', false, true, false],
  ['0.0.0.0', false, true, false],
  ['10.0.0.1', false, true, false],
  ['192.168.1.2:9000', false, true, false],
  ['128.0.0.1', false, true, false],
  ['[::]', false, true, false],
  ['[1::1]', false, true, false],
  ['[::7f00:1]', false, true, false],
  ['[::ffff:10.0.0.1]', false, true, false],
  ['::', false, false, false],
  // Parts of a URL around its host.
  ['localhost/evil', false, false, false],
  ['localhost/', false, false, false],
  ['localhost?x', false, false, false],
  ['localhost#x', false, false, false],
  ['localhost\\evil', false, false, false],
  ['user@localhost', false, false, false],
  ['localhost@evil.example', false, false, false],
  ['http://localhost', false, false, false],
  ['//localhost', false, false, false],
  ['localhost,evil.example', false, false, false],
  ['localhost;evil', false, false, false],
  // Characters that a URL parser decodes, strips or maps.
  ['localhost%2fevil', false, false, false],
  ['%6cocalhost', false, false, false],
  ['localhost%00', false, false, false],
  ['localhost%2eevil.example', false, false, false],
  ['localhost。', false, false, false],
  ['ⓛocalhost', false, false, false],
  ['ｌｏｃａｌｈｏｓｔ', false, false, false],
  ['１２７.0.0.1', false, false, false],
  ['127。0。0。1', false, false, false],
  ['bücher.example', false, false, false],
  ['local\u00adhost', false, false, false],
  [' localhost', false, false, false],
  ['localhost ', false, false, false],
  ['local host', false, false, false],
  ['local\thost', false, false, false],
  ['localhost\n', false, false, false],
  ['local\0host', false, false, false],
  // No host at all.
  ['', false, false, false],
  [' ', false, false, false],
  ['.', false, false, false],
  ['.localhost', false, false, false],
  ['app..localhost', false, false, false],
  ['localhost..', false, false, false],
  [':9000', false, false, false],
  ['[::1', false, false, false],
  ['::1]', false, false, false],
  ['[::1]x', false, false, false],
  ['x[::1]', false, false, false],
  ['[[::1]]', false, false, false],
  ['[]', false, false, false],
  ['[localhost]', false, false, false],
  ['[127.0.0.1]', false, false, false],
  ['[::1%25lo]', false, false, false],
  ['::1%lo', false, false, false],
  ['[v1.localhost]', false, false, false],
  ['127.0.0.256', false, false, false],
  ['127.0.0.0.1', false, false, false],
  ['08.0.0.1', false, false, false],
  ['xn--a', false, false, false],
]

describe('a host', () => {
  for (const [text, loopback, header, answered] of SPELLINGS) {
    it(`${JSON.stringify(text)} is ${loopback ? '' : 'not '}loopback, ${header ? '' : 'not '}a Host header, ${answered ? '' : 'not '}answered`, () => {
      assert.deepEqual(
        [isLoopback(text), isHostHeader(text), isHostAllowed(text, '127.0.0.1')],
        [loopback, header, answered],
      )
    })
  }

  it('of 100,000 characters is checked in linear time', () => {
    for (const text of ['a.', 'a', '[', ':', '1.', '%', '-.'])
      for (const check of [isLoopback, isHostHeader]) cheap(() => check(`${text.repeat(50_000)}!`), text)
  })
})

describe('isHostAllowed', () => {
  it('does not allow a request without Host on loopback, in any spelling of the address', () => {
    for (const boundTo of ['127.0.0.1', '::1', '::ffff:127.0.0.1'])
      assert.equal(isHostAllowed(undefined, boundTo), false, boundTo)
  })
  it('allows a listed name, with any port, in any case, with and without the final dot', () => {
    for (const [header, entry, expected] of [
      ['chat.example', 'chat.example', true],
      ['chat.example:8443', 'chat.example', true],
      ['Chat.Example', 'chat.example', true],
      ['chat.example', 'Chat.Example', true],
      ['chat.example.', 'chat.example', true],
      ['chat.example', 'chat.example.', true],
      ['[2001:DB8::1]:80', '2001:db8:0::1', true],
      ['[2001:db8::1]', '[2001:db8::1]', true],
      ['other.example', 'chat.example', false],
      ['a.chat.example', 'chat.example', false],
      ['chat.example/evil', 'chat.example', false],
      ['chat.example@evil.example', 'chat.example', false],
      ['', 'chat.example/', false],
    ] as const)
      assert.equal(isHostAllowed(header, '127.0.0.1', [entry]), expected, `${header} for ${entry}`)
  })
  it('allows any name when it is not bound to loopback', () => {
    assert.equal(isHostAllowed('anything.example', '0.0.0.0'), true)
    assert.equal(isHostAllowed(undefined, '::'), true)
  })
  it('allows only listed and loopback names if there is a list', () => {
    const answered = ['chat.example', 'localhost', '127.0.0.1:9000', 'other.example', '10.0.0.1', undefined].map(
      header => isHostAllowed(header, '0.0.0.0', ['chat.example']),
    )
    assert.deepEqual(answered, [true, true, true, false, false, false])
  })
})

describe('a plain request', () => {
  const get = (host: string, target = '/') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
  /** Spellings that fit in a header field; Node trims the outer spaces. */
  const sent = SPELLINGS.filter(([text]) => /^[^\s\0](?:[^\r\n\0]*[^\s\0])?$/.test(text) || text === '')

  it('is answered, refused with 400 or with 403, by its Host header', async t => {
    const server = await serve(t, { filters: [{ request: (_, res) => void res.end('page') }] })
    for (const [text, , header, answered] of sent) {
      const { status, body } = await ask(server.url, Buffer.from(get(text)))
      const expected = answered
        ? [200, /page/]
        : header
          ? [403, /^host .* is not served here/m]
          : [400, /^bad Host header$/m]
      assert.deepEqual([status, (expected[1] as RegExp).test(body)], [expected[0], true], `${text}: ${status} ${body}`)
    }
    const refused = { 400: 0, 403: 0 }
    for (const [, , header, answered] of sent) if (!answered) refused[header ? 403 : 400]++
    assert.deepEqual({ ...server.counters.refusals }, refused)
  })

  it('on all addresses is refused with 400 for an invalid Host', async t => {
    const server = await serve(t, { host: '0.0.0.0', filters: [{ request: (_, res) => void res.end('page') }] })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    for (const [text, , header] of sent)
      assert.equal((await ask(url, Buffer.from(get(text)))).status, header ? 200 : 400, text)
  })

  it('is refused with 400, and counted, without Host or with two', async t => {
    const server = await serve(t, { filters: [] })
    for (const [fields, reason] of [
      ['', /^no Host header$/m],
      ['Host: localhost\r\nHost: localhost\r\n', /^more than one Host header$/m],
    ] as const) {
      const { status, body, headers } = await ask(server.url, `GET / HTTP/1.1\r\n${fields}\r\n`)
      assert.deepEqual([status, headers.connection], [400, 'close'])
      assert.match(body, reason)
    }
    assert.deepEqual({ ...server.counters.refusals }, { 400: 2 })
  })

  it('with an absolute target must name the host of its Host header', async t => {
    const seen: unknown[] = []
    const request: FilterModule['request'] = (req, res) => {
      seen.push(req.url)
      res.end('page')
    }
    const server = await serve(t, { filters: [{ request }] })
    for (const [target, host, status] of [
      ['http://localhost/', 'localhost', 200],
      ['HTTP://LOCALHOST:80/', 'localhost', 200],
      ['http://localhost:9000/x?y', 'localhost:9000', 200],
      ['http://localhost', 'localhost', 200],
      ['http://localhost?http://evil.example', 'localhost', 200],
      ['ws://localhost/', 'localhost:80', 200],
      ['*', 'localhost', 200],
      ['http://evil.example/', 'localhost', 400],
      ['http://localhost/', 'evil.example', 400],
      ['http://localhost:1/', 'localhost:2', 400],
      ['http://127.0.0.1/', 'localhost', 400],
      ['http://localhost@evil.example/', 'localhost', 400],
      ['http://evil.example\\@localhost/', 'localhost', 400],
      ['http://evil.example?@localhost/', 'localhost', 400],
      ['http://127.1/', '127.0.0.1', 400],
      ['https://evil.example/', 'localhost', 400],
      ['ftp://localhost/', 'localhost', 400],
      ['http:///localhost', 'localhost', 400],
    ] as const)
      assert.equal((await ask(server.url, get(host, target))).status, status, `${target} for ${host}`)
    assert.deepEqual(seen, ['/', '/', '/x?y', '/', '/?http://evil.example', '/', '*'])
  })

  it('of HTTP/1.0 whose target is absolute needs a Host too', async t => {
    const server = await serve(t, { host: '0.0.0.0', filters: [{ request: (_, res) => void res.end('page') }] })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    for (const [bytes, status] of [
      ['GET / HTTP/1.0\r\n\r\n', 200],
      ['GET http://localhost/ HTTP/1.0\r\nHost: localhost\r\n\r\n', 200],
      ['GET http://localhost/ HTTP/1.0\r\n\r\n', 400],
    ] as const)
      assert.equal((await ask(url, bytes)).status, status, bytes)
  })
})
