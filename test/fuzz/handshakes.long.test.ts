// Random handshakes against the built command. jazzer.js cannot guide them: the parser is llhttp, in another process.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { frame, TEXT } from '../support/frames.ts'
import { type Conversation, fuzzConnections } from './connections.ts'
import { mutated } from './mutations.ts'
import { kept } from './seed.ts'

const COUNT = 25_000

const rare = <T>(usual: T, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary })

const junk = fc.oneof(
  fc.string({ maxLength: 30, unit: 'binary' }),
  fc.constantFrom('', ' ', '\0', '\r', '\n', '\r\n', '\r\n ', '\t', ':', ',', ';', '=', '"', '%', 'ÿ', '9'.repeat(40)),
  fc.nat(20_000).map(length => 'x'.repeat(length)),
)

const start = fc
  .tuple(
    rare('GET', fc.constantFrom('get', 'POST', 'HEAD', 'OPTIONS', 'CONNECT', 'PRI', 'TRACE', '', 'G\0T')),
    rare('/', fc.oneof(junk, fc.webPath(), fc.webUrl(), fc.constantFrom('*', '//', '/\\', '/%', '/?token=a', '/#a'))),
    rare('HTTP/1.1', fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.11', 'http/1.1', '', 'RTSP/1.0')),
    rare(' ', fc.constantFrom('', '  ', '\t', '\0')),
  )
  .map(([method, target, version, blank]) => [method, target, version].join(blank))

const header = fc.oneof(
  fc.constantFrom(
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: identity, chunked',
    'Content-Length: 5',
    'Content-Length: -1',
    'Content-Length: 18446744073709551616',
    'Host: evil.example',
    'Host: localhost',
    'Connection: close',
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'Upgrade: websocket, h2c',
    'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
    'Expect: 100-continue',
    'Origin: null',
    'Origin: http://localhost',
    'Sec-WebSocket-Version: 8',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: a, b',
    'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
    'X : space',
    ' folded',
    '\tfolded',
    ': nameless',
    'nothing',
    'X: \0',
    'X: a\rb',
    'X: a\nb',
  ),
  fc
    .tuple(
      fc.constantFrom(
        'Host',
        'Origin',
        'Cookie',
        'Authorization',
        'Sec-WebSocket-Protocol',
        'Sec-WebSocket-Extensions',
        'Sec-WebSocket-Key',
        'X-Forwarded-For',
        '__proto__',
        'constructor',
      ),
      junk,
    )
    .map(([name, value]) => `${name}: ${value}`),
)

const usual = [
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

const request = fc
  .tuple(
    start,
    fc.shuffledSubarray(usual, { minLength: 3 }),
    fc.array(header, { maxLength: 4 }),
    rare(1, fc.nat(300)),
    rare('\r\n', fc.constantFrom('\n', '\r', '\r\n\r\n', '')),
  )
  .map(([first, right, strange, times, end]) => {
    const more = Array.from({ length: times }, () => strange).flat()
    return Buffer.from(`${[first, ...right, ...more].join(end)}${end}${end}`, 'latin1')
  })

const extra = rare(
  Buffer.alloc(0),
  fc.constantFrom(frame(TEXT, 'x'), Buffer.from('0\r\n\r\n'), Buffer.from('GET / HTTP/1.1\r\n')),
)

const conversations: fc.Arbitrary<Conversation> = fc
  .tuple(mutated(request), extra, fc.nat(2), fc.nat(199))
  .map(([bytes, more, pieces, patience]) => {
    const all = Buffer.concat([bytes, more])
    const size = Math.ceil(all.length / (pieces + 1))
    const writes = Array.from({ length: pieces + 1 }, (_, i) => all.subarray(i * size, (i + 1) * size))
    return { writes: writes.filter(({ length }) => length > 0), ends: patience > 0 }
  })

it(`${COUNT} random handshakes are answered in HTTP or disconnected, and leak nothing`, {
  timeout: 280_000,
}, async t => {
  await fuzzConnections(t, {
    conversations,
    count: COUNT,
    kept: kept('handshakes'),
    check: answer => assert.match(answer.toString('latin1'), /^(?:HTTP\/1\.1 [1-5]\d\d [A-Z]|$)/),
  })
})
