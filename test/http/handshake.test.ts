import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type Client, DROP, type Payload } from '../../src/index.ts'
import { ask, frame, handshake, RawPeer, TEXT } from '../support/frames.ts'
import { gate } from '../support/gate.ts'
import {
  FOREIGN_ORIGINS,
  foreignHosts,
  LISTED_ORIGINS,
  MALFORMED_HOSTS,
  NO_ORIGINS,
} from '../support/hostile-headers.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'
import { upgradeStatus } from '../support/upgrade.ts'

const get = (url: string, headers: Readonly<Record<string, string>> = {}) => {
  const lines = Object.entries({ Host: new URL(url).host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET / HTTP/1.0\r\n${lines.join('')}\r\n`
}

const hasIpv6 = Object.values(networkInterfaces()).some(addresses => addresses?.some(({ family }) => family === 'IPv6'))

/** Throws when it is converted to a string. */
const unprintable = {
  toString() {
    throw new Error('no')
  },
}

describe('malformed HTTP', () => {
  it('is answered with 400 and closes only that connection', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const answer = await ask(server.url, 'Morgan\r\n\r\n')
    assert.deepEqual([answer.status, answer.body], [400, 'Bad Request\n'])
    assert.deepEqual({ ...server.counters.refusals }, { 400: 1 })
    const peer = await Peer.open(server.url)
    peer.send('still here')
    assert.deepEqual(await peer.get(1), ['still here'])
  })

  it('without a Host header is answered with 400, plain or handshake', async t => {
    const server = await serve(t, { filters: [], host: '0.0.0.0' })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    assert.equal((await ask(url, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n')).status, 400)
    // RFC 9112, section 3.2.
    assert.equal((await ask(url, handshake(url, { Host: undefined }))).status, 400)
  })

  it('with headers beyond the limit is answered with 431', async t => {
    const server = await serve(t, { filters: [] })
    assert.equal((await ask(server.url, handshake(server.url, { Padding: 'x'.repeat(20_000) }))).status, 431)
  })

  it('with more than 100 header fields is answered with 431, plain or handshake', async t => {
    const server = await serve(t, { filters: [], origins: ['http://page.example'] })
    const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, '']))
    const own = handshake(server.url).match(/: /g)!.length
    const [most, more] = [fields(100 - own), fields(101 - own)]
    assert.equal((await ask(server.url, handshake(server.url, most))).status, 101)
    const upgrade = await ask(server.url, handshake(server.url, more))
    assert.deepEqual([upgrade.status, upgrade.body], [431, 'more than 100 header fields\n'])
    const plain = await ask(server.url, handshake(server.url, { ...more, Upgrade: undefined, b: '' }, 'GET / HTTP/1.0'))
    assert.deepEqual([plain.status, plain.body], [431, 'more than 100 header fields\n'])
    assert.equal(plain.headers.connection, 'close')
    // Node alone would silently drop the last fields, possibly the Origin.
    const hidden = handshake(server.url, { ...fields(1500), Origin: 'http://evil.example' })
    assert.equal((await ask(server.url, hidden)).status, 431)
    assert.deepEqual({ ...server.counters.refusals }, { 431: 3 })
  })

  it('with a target that names another host than Host is answered with 400', async t => {
    const server = await serve(t, { filters: ['echo'], hosts: ['evil.example'] })
    const { host } = new URL(server.url)
    for (const target of [
      'http://evil.example/',
      'ws://evil.example/',
      `http://${host}1/`,
      `http://evil.example@${host}/`,
      `http://${host}@evil.example/`,
      `http://${host}.evil.example/`,
      `http://evil.example\\@${host}/`,
      'http://localhost/',
      'http:///',
      `ftp://${host}/`,
      host,
      '*',
      'x',
    ]) {
      const answer = await ask(server.url, handshake(server.url, {}, `GET ${target} HTTP/1.1`))
      assert.equal(answer.status, 400, `${target}: ${answer.body}`)
    }
  })

  it('after an unanswered request does not write its 400 into that answer', async t => {
    const { opened, open } = gate()
    t.after(open)
    const server = await serve(t, {
      filters: [
        {
          request: (_, res) => {
            res.writeHead(200, { 'Content-Length': '100' })
            res.write('half')
            return opened
          },
        },
      ],
    })
    const { socket, answer } = await raw(server.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
    socket.write('Morgan\r\n\r\n')
    assert.match(await answer(), /\r\n\r\nhalf$/)
  })

  it('that a reset cuts off does not stop the server', async t => {
    const server = await serve(t, { filters: [] })
    const { socket } = await raw(server.url, 'GET / HTTP/1.1\r\nHos')
    socket.resetAndDestroy()
    await Peer.open(server.url)
  })
})

describe('upgrade headers', () => {
  const KEY = 'Sec-WebSocket-Key'
  const VERSION = 'Sec-WebSocket-Version'

  it('without Upgrade are a plain request, answered with 426', async t => {
    const server = await serve(t, { filters: [] })
    const answer = await ask(server.url, handshake(server.url, { Upgrade: undefined }, 'GET / HTTP/1.0'))
    assert.deepEqual([answer.status, answer.body], [426, 'this is a WebSocket server\n'])
  })

  for (const version of ['12', '8', '14', '13, 8', 'thirteen', '', undefined]) {
    it(`with ${VERSION} ${JSON.stringify(version)} are refused with 426 that names version 13`, async t => {
      const server = await serve(t, { filters: [] })
      const answer = await ask(server.url, handshake(server.url, { [VERSION]: version }))
      assert.deepEqual([answer.status, answer.body], [426, 'only WebSocket version 13 is supported\n'])
      assert.equal(answer.headers['sec-websocket-version'], '13')
      assert.deepEqual({ ...server.counters.refusals }, { 426: 1 })
    })
  }

  for (const key of [undefined, '', 'short', 'dGhlIHNhbXBsZSBub25jZQ=!']) {
    it(`with ${KEY} ${JSON.stringify(key)} are refused with 400`, async t => {
      const server = await serve(t, { filters: [] })
      const answer = await ask(server.url, handshake(server.url, { [KEY]: key }))
      assert.deepEqual([answer.status, answer.body], [400, 'missing or bad Sec-WebSocket-Key\n'])
    })
  }

  it('in a POST are refused with 405 and Allow: GET', async t => {
    const server = await serve(t, { filters: [] })
    const answer = await ask(server.url, handshake(server.url, {}, 'POST / HTTP/1.1'))
    assert.deepEqual([answer.status, answer.body], [405, 'a WebSocket handshake is a GET\n'])
    // RFC 9110, section 15.5.6: a 405 lists the allowed methods.
    assert.equal(answer.headers.allow, 'GET')
  })

  it('after an unanswered request never get its response between their frames', async t => {
    const { opened, open } = gate()
    t.after(open)
    let isAtWork = false
    const server = await serve(t, {
      filters: [
        {
          request: async (_, res) => {
            isAtWork = true
            await opened
            res.end('page')
          },
        },
        'echo',
      ],
    })
    const bytes = `GET / HTTP/1.1\r\nHost: localhost\r\n\r\n${handshake(server.url)}`
    const { socket, answer } = await raw(server.url, Buffer.concat([Buffer.from(bytes), frame(TEXT, 'hello')]))
    await until(() => isAtWork)
    open()
    // Refused, or answered in order.
    socket.end()
    assert.doesNotMatch(await answer(), /101 Switching Protocols.*HTTP\/1\.1 200/s)
  })

  for (const [what, bytes] of [
    ['of HTTP/1.0', (url: string) => handshake(url, {}, 'GET / HTTP/1.0')],
    ['with a body', (url: string) => `${handshake(url, { 'Content-Length': '4' })}body`],
    ['with a chunked body', (url: string) => `${handshake(url, { 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`],
    ['with two Hosts', (url: string) => handshake(url, { host: 'localhost' })],
    ...MALFORMED_HOSTS.map(
      host => [`with the Host ${JSON.stringify(host)}`, (url: string) => handshake(url, { Host: host })] as const,
    ),
  ] as const) {
    it(`${what} are refused with 400`, async t => {
      const server = await serve(t, { filters: [], host: '0.0.0.0', handshakeTimeout: 10 })
      const url = `ws://127.0.0.1:${new URL(server.url).port}`
      assert.equal((await ask(url, bytes(url))).status, 400)
      assert.deepEqual([{ ...server.counters.refusals }, server.counters.opened], [{ 400: 1 }, 0])
    })
  }

  it('with an empty body and any valid Host are accepted', async t => {
    const server = await serve(t, { filters: [], host: '0.0.0.0' })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    for (const host of [
      'a',
      'a.example:80',
      '10.0.0.1:9000',
      '[::1]:9000',
      'my_host-1.example',
      'a.example:',
      'a.example.',
    ]) {
      assert.equal((await ask(url, handshake(url, { Host: host, 'Content-Length': '0' }))).status, 101, host)
    }
  })

  for (const [list, protocols] of [
    ['', []],
    ['  ', []],
    [',', []],
    [' , ,\t', []],
    ['chat,', ['chat']],
    [', chat', ['chat']],
    ['chat,,v2 ,', ['chat', 'v2']],
  ] as const) {
    it(`with the subprotocols ${JSON.stringify(list)} are accepted, without empty ones`, async t => {
      const seen: unknown[] = []
      const connect = ({ handshake }: Client) => void seen.push(handshake!.protocols)
      const server = await serve(t, { filters: [{ connect }] })
      const answer = await ask(server.url, handshake(server.url, { 'Sec-WebSocket-Protocol': list }))
      assert.deepEqual([answer.status, answer.headers['sec-websocket-protocol']], [101, protocols[0]])
      assert.deepEqual(seen, [protocols])
    })
  }

  it('with subprotocols that are malformed are refused with 400', async t => {
    const server = await serve(t, { filters: [] })
    for (const list of ['a b', 'chat, chat', 'chat,,chat', '"chat"', 'a/b', 'b\u00fccher']) {
      const answer = await ask(server.url, handshake(server.url, { 'Sec-WebSocket-Protocol': list }))
      assert.deepEqual([answer.status, answer.body], [400, 'bad Sec-WebSocket-Protocol\n'], list)
    }
  })

  for (const [offers, accepted] of [
    ['', undefined],
    [' ', undefined],
    [',,', undefined],
    ['permessage-deflate,', 'permessage-deflate'],
    [', permessage-deflate', 'permessage-deflate'],
    ['x-other,, permessage-deflate', 'permessage-deflate'],
  ] as const) {
    it(`with the extensions ${JSON.stringify(offers)} are accepted, without empty ones`, async t => {
      const server = await serve(t, { filters: [], compress: true })
      const answer = await ask(server.url, handshake(server.url, { 'Sec-WebSocket-Extensions': offers }))
      assert.deepEqual([answer.status, answer.headers['sec-websocket-extensions']?.split(';')[0]], [101, accepted])
    })
  }

  for (const [target, seen] of [
    ['http://HOST/a?b=c', '/a?b=c'],
    ['ws://HOST/a', '/a'],
    ['HTTP://HOST', '/'],
    ['http://HOST?b', '/?b'],
    ['https://HOST//a', '//a'],
    ['wss://HOST/a:1', '/a:1'],
    ['/a?http://evil.example/', '/a?http://evil.example/'],
  ] as const) {
    it(`for ${target} are accepted, and filters see ${seen}`, async t => {
      const urls: unknown[] = []
      const connect = ({ handshake }: Client) => void urls.push(handshake!.request!.url, handshake!.url.href)
      const server = await serve(t, { filters: [{ connect }] })
      const start = `GET ${target.replace('HOST', new URL(server.url).host)} HTTP/1.1`
      assert.equal((await ask(server.url, handshake(server.url, {}, start))).status, 101)
      assert.deepEqual(urls, [seen, `${server.url}${seen}`])
    })
  }

  it('that are valid are answered with 101 and the accept key of RFC 6455', async t => {
    const server = await serve(t, { filters: [] })
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.headers['sec-websocket-accept']], [101, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='])
  })
})

describe('a plain HTTP request', () => {
  const headers = async (url: string) => (await ask(url, get(url))).headers

  it('that no filter answers gets 426 with an Upgrade header', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const answer = await ask(server.url, get(server.url))
    assert.deepEqual([answer.status, answer.body], [426, 'this is a WebSocket server\n'])
    assert.equal(answer.headers.upgrade, 'websocket')
  })

  it('with Connection: close is closed after the 426', async t => {
    const server = await serve(t, { filters: [] })
    const { socket } = await raw(server.url, `GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    // Keep-alive would end it after 5 s.
    await until(() => socket.closed, 'the end of the connection', 4500)
  })

  it('that all filters pass is answered with 426 too', async t => {
    const server = await serve(t, { filters: [{ request: () => {} }, { request: async () => {} }] })
    assert.equal((await ask(server.url, get(server.url))).status, 426)
  })

  it('is answered by the first filter that answers, and later ones do not run', async t => {
    const seen: string[] = []
    const server = await serve(t, {
      filters: [
        { request: () => void seen.push('first') },
        {
          request: (_, res) => {
            res.end('second')
            return DROP
          },
        },
        { request: () => void seen.push('third') },
      ],
    })
    const answer = await ask(server.url, get(server.url))
    assert.deepEqual([answer.status, answer.body], [200, 'second'])
    assert.deepEqual(seen, ['first'])
  })

  it('counts as answered when a filter has sent headers, whatever it returns', async t => {
    const later: string[] = []
    const server = await serve(t, {
      filters: [{ request: (_, res) => void res.writeHead(204).end() }, { request: () => void later.push('ran') }],
    })
    assert.equal((await ask(server.url, get(server.url))).status, 204)
    assert.deepEqual(later, [])
  })

  it('may be answered by an async filter', async t => {
    const server = await serve(t, {
      filters: [
        {
          request: async (_, res) => {
            await turn()
            res.end('late')
            return DROP
          },
        },
      ],
    })
    const answer = await ask(server.url, get(server.url))
    assert.deepEqual([answer.status, answer.body], [200, 'late'])
  })

  for (const [how, request] of [
    [
      'throws',
      () => {
        throw new Error('secret detail')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret detail'))],
    ['returns nonsense', () => 42 as never],
  ] as const) {
    it(`is answered with 500, without the error, when a filter ${how}`, async t => {
      const server = await serve(t, { filters: [{ request }] })
      const answer = await ask(server.url, get(server.url))
      assert.deepEqual([answer.status, answer.body], [500, 'internal error\n'])
      assert.equal(server.counters.errors, 1)
    })
  }

  it('is disconnected when a filter throws during its response', async t => {
    const server = await serve(t, {
      filters: [
        {
          request: (_, res) => {
            res.writeHead(200, { 'Content-Length': '100' })
            res.write('half')
            throw new Error('no')
          },
        },
      ],
    })
    const answer = await ask(server.url, get(server.url))
    assert.notEqual(answer.body.length, 100)
    assert.equal(server.counters.errors, 1)
  })

  it('is answered with nosniff and a content type', async t => {
    const server = await serve(t, { filters: [] })
    assert.equal((await headers(server.url))['x-content-type-options'], 'nosniff')
  })
})

describe('the Origin of a browser', () => {
  it("is allowed if it is the server's own", async t => {
    const server = await serve(t, { filters: [] })
    const { host, port } = new URL(server.url)
    assert.equal(await upgradeStatus(server.url, { origin: `http://${host}` }), 101)
    assert.equal(await upgradeStatus(`ws://localhost:${port}`, { origin: `http://localhost:${port}` }), 101)
  })

  it('is refused with 403 if the host or the port differs', async t => {
    const server = await serve(t, { filters: [] })
    const { host } = new URL(server.url)
    for (const [origin, part] of FOREIGN_ORIGINS) {
      const answer = await ask(server.url, handshake(server.url, { Origin: origin }))
      const why = `its ${part} is not that of the Host header, ${host}; if a proxy replaced Host`
      assert.equal(answer.status, 403)
      assert.ok(answer.body.startsWith(`origin ${origin} is not allowed: ${why}`), answer.body)
    }
    assert.deepEqual({ ...server.counters.refusals }, { 403: 3 })
  })

  it('is refused if it is null or not a URL', async t => {
    const server = await serve(t, { filters: [] })
    for (const origin of NO_ORIGINS) {
      assert.equal(await upgradeStatus(server.url, { headers: { Origin: origin } }), 403, JSON.stringify(origin))
    }
  })

  it('is allowed if it is in --origins, and only then', async t => {
    const server = await serve(t, { filters: [], origins: LISTED_ORIGINS.origins })
    for (const [origin, isAllowed] of LISTED_ORIGINS.cases)
      assert.equal(await upgradeStatus(server.url, { origin }), isAllowed ? 101 : 403, origin)
  })

  it('of a program may have the scheme of the WebSocket or a slash at the end, and file:// passes by name', async t => {
    const server = await serve(t, { filters: [], origins: ['file://'] })
    const { host } = new URL(server.url)
    for (const [origin, status] of [
      [`ws://${host}`, 101],
      [`wss://${host}`, 101],
      [`http://${host}/`, 101],
      ['file://', 101],
      ['ws://evil.example', 403],
      ['http://evil.example/', 403],
      ['file://evil.example', 403],
    ] as const)
      assert.equal((await ask(server.url, handshake(server.url, { Origin: origin }))).status, status, origin)
  })

  it('may have any name in place of the wildcard, also on loopback', async t => {
    const server = await serve(t, { filters: [], origins: ['https://*.example.com'] })
    const statuses = []
    for (const origin of [
      'https://a.example.com',
      'https://example.com',
      'https://a.b.example.com',
      'https://evil-example.com',
    ])
      statuses.push(await upgradeStatus(server.url, { origin }))
    assert.deepEqual(statuses, [101, 403, 403, 403])
  })

  it('may occur once: two are refused with 400', async t => {
    const server = await serve(t, { filters: [], origins: ['*'] })
    const twice = handshake(server.url, { Origin: 'http://a.example' }).replace(
      '\r\n\r\n',
      '\r\nOrigin: http://a.example\r\n\r\n',
    )
    const answer = await ask(server.url, twice)
    assert.deepEqual([answer.status, answer.body], [400, 'more than one Origin header\n'])
  })

  it('may be anything under --origins *', async t => {
    const server = await serve(t, { filters: [], origins: ['*'] })
    for (const origin of ['http://evil.example', 'null'])
      assert.equal(await upgradeStatus(server.url, { headers: { Origin: origin } }), 101)
  })

  it('is optional, since clients other than browsers do not send it', async t => {
    const server = await serve(t, { filters: [] })
    assert.equal(await upgradeStatus(server.url), 101)
  })
})

describe('the Host, on a loopback bind', () => {
  it('of another name is refused with 403, in handshakes and plain requests', async t => {
    const server = await serve(t, { filters: [{ request: (_, res) => void res.end('private') }] })
    const { port } = new URL(server.url)
    for (const host of foreignHosts(port)) {
      const upgrade = await ask(server.url, handshake(server.url, { Host: host }))
      assert.deepEqual([upgrade.status, upgrade.body], [403, `host ${host} is not served here; see --hosts\n`])
      const plain = await ask(server.url, get(server.url, { Host: host }))
      assert.deepEqual([plain.status, plain.body], [403, `host ${host} is not served here; see --hosts\n`])
    }
    assert.deepEqual({ ...server.counters.refusals }, { 403: 10 })
  })

  it('may be any loopback name', async t => {
    const server = await serve(t, { filters: [] })
    for (const host of ['localhost', 'LOCALHOST:1', 'app.localhost', '127.0.0.1', '127.9.9.9:80', '[::1]:9000']) {
      assert.equal((await ask(server.url, handshake(server.url, { Host: host }))).status, 101, host)
    }
  })

  it('is allowed if it is in --hosts, with any port', async t => {
    const server = await serve(t, { filters: [], hosts: ['chat.example'] })
    for (const host of ['chat.example', 'chat.example:443', 'CHAT.example']) {
      assert.equal((await ask(server.url, handshake(server.url, { Host: host }))).status, 101, host)
      assert.equal((await ask(server.url, get(server.url, { Host: host }))).status, 426, host)
    }
    assert.equal((await ask(server.url, handshake(server.url, { Host: 'other.example' }))).status, 403)
  })

  it('is compared with --hosts case-insensitively', async t => {
    const server = await serve(t, { filters: [], hosts: ['Chat.Example'] })
    assert.equal((await ask(server.url, handshake(server.url, { Host: 'chat.example' }))).status, 101)
  })

  for (const bind of ['localhost', '127.1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1']) {
    const isSixth = bind.includes(':')
    const skip = isSixth && !hasIpv6 && 'needs IPv6'
    it(`of another name is refused in any spelling of loopback: --host ${bind}`, { skip }, async t => {
      const server = await serve(t, { filters: [], host: bind })
      const port = Number(/\d+$/.exec(server.url)![0])
      for (const [bytes, status] of [
        [handshake('ws://evil.example'), 403],
        [get('ws://evil.example'), 403],
        [handshake('ws://localhost'), 101],
      ] as const) {
        const socket = connect(port, isSixth ? bind : '127.0.0.1')
        socket.write(bytes)
        const [chunk] = await once(socket, 'data')
        assert.match(String(chunk), new RegExp(`^HTTP/1.1 ${status} `))
        socket.destroy()
      }
    })
  }

  it('must be in --hosts, if set, when the server listens beyond loopback', async t => {
    const server = await serve(t, { filters: [], host: '0.0.0.0', hosts: ['chat.example'] })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    for (const [host, upgrade, plain] of [
      ['chat.example', 101, 426],
      ['localhost', 101, 426],
      ['evil.example', 403, 403],
      ['10.0.0.1', 403, 403],
    ] as const) {
      assert.equal((await ask(url, handshake(url, { Host: host }))).status, upgrade, host)
      assert.equal((await ask(url, get(url, { Host: host }))).status, plain, host)
    }
  })

  it('is not checked when the server listens beyond loopback without --hosts', async t => {
    const server = await serve(t, { filters: [], host: '0.0.0.0' })
    const url = `ws://127.0.0.1:${new URL(server.url).port}`
    assert.equal((await ask(url, handshake(url, { Host: 'chat.example' }))).status, 101)
  })
})

describe('max-clients', () => {
  it('refuses further clients with 503 and Retry-After until one leaves', async t => {
    const server = await serve(t, { filters: [], maxClients: 2 })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.body], [503, 'too many clients\n'])
    assert.equal(answer.headers['retry-after'], '5')
    peers[0]!.ws.close()
    await until(() => server.clients.size === 1)
    assert.equal(await upgradeStatus(server.url), 101)
  })

  it('counts disconnected clients whose messages are still in the chain', async t => {
    const { opened, open } = gate()
    t.after(open)
    const server = await serve(t, { filters: [{ message: () => opened }], maxClients: 1 })
    const peer = await Peer.open(server.url)
    peer.send('takes memory')
    await until(() => server.counters.messages === 1)
    peer.ws.terminate()
    await until(() => server.clients.size === 0)
    assert.equal(await upgradeStatus(server.url), 503)
    open()
    await turn()
    assert.equal(await upgradeStatus(server.url), 101)
  })

  it('counts pending handshakes', async t => {
    const { opened, open } = gate()
    let connecting = false
    const connect = () => {
      connecting = true
      return opened
    }
    const server = await serve(t, { filters: [{ connect }], maxClients: 1 })
    const first = await RawPeer.sendHandshake(server.url)
    await until(() => connecting)
    assert.equal(await upgradeStatus(server.url), 503)
    open()
    await until(() => first.head !== '')
    assert.match(first.head, /^HTTP\/1.1 101 /)
    first.socket.destroy()
  })
})

describe('a refusal by a close code', () => {
  const refuse = (status: number) => ({ connect: (client: Client) => client.refuse(status, 'because') })

  it('is for clients that offer fws.refused, whose frames are not handled', async t => {
    const messages: unknown[] = []
    const server = await serve(t, { filters: [refuse(403), { message: payload => void messages.push(payload) }] })
    const peer = await Peer.open(server.url, {}, ['chat', 'fws', 'fws.refused'])
    assert.equal(peer.ws.protocol, 'fws.refused')
    for (let i = 0; i < 10; i++) peer.send('x')
    assert.deepEqual(await peer.end(), { code: 4403, reason: 'because' })
    assert.deepEqual([messages, server.clients.size], [[], 0])
  })

  it('survives an invalid frame of such a client', async t => {
    const server = await serve(t, { filters: [refuse(401)] })
    const { socket } = await raw(server.url, handshake(server.url, { 'Sec-WebSocket-Protocol': 'fws.refused' }))
    socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]))
    await once(socket, 'close')
    await Peer.open((await serve(t, { filters: [] })).url)
  })

  for (const [status, protocols] of [
    [403, ['chat']],
    [403, ['fws']],
    [401, []],
    [429, ['fws.refused']],
    [503, ['fws', 'fws.refused']],
  ] as const) {
    it(`is not for ${status} with the subprotocols ${protocols.join() || 'none'}`, async t => {
      const { url } = await serve(t, { filters: [refuse(status)] })
      const offered = protocols.length > 0 ? { 'Sec-WebSocket-Protocol': protocols.join(', ') } : {}
      assert.equal((await ask(url, handshake(url, offered))).status, status)
    })
  }

  it('is not for an Origin or a Host that is not allowed', async t => {
    const { url } = await serve(t, { filters: [] })
    for (const more of [{ Origin: 'https://evil.example' }, { Host: 'evil.example' }])
      assert.equal((await ask(url, handshake(url, { 'Sec-WebSocket-Protocol': 'fws.refused', ...more }))).status, 403)
  })

  it('selects another subprotocol for a client that is accepted, whatever a filter selects', async t => {
    const select = (client: Client) => {
      client.handshake!.protocol = client.handshake!.protocols.at(-1)
    }
    const { url } = await serve(t, { filters: [{ connect: select }] })
    for (const [offered, selected] of [
      [['fws', 'fws.refused'], 'fws'],
      [['fws.refused', 'chat'], 'chat'],
      [['chat', 'fws', 'fws.refused'], 'chat'],
    ] as const)
      assert.equal((await Peer.open(url, {}, [...offered])).ws.protocol, selected)
  })
})

describe('a connect filter', () => {
  it('refuses with a status, a reason and headers', async t => {
    const server = await serve(t, {
      filters: [
        { connect: client => client.refuse(401, 'who are you?', { 'WWW-Authenticate': 'Bearer' }) },
        { connect: () => assert.fail('a refusal ends the chain') },
      ],
    })
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.body], [401, 'who are you?\n'])
    assert.equal(answer.headers['www-authenticate'], 'Bearer')
    assert.deepEqual({ ...server.counters.refusals }, { 401: 1 })
    assert.deepEqual([server.counters.errors, server.counters.opened], [0, 0])
  })

  it('refuses with the reason phrase of the status by default', async t => {
    const server = await serve(t, { filters: [{ connect: client => client.refuse(404) }] })
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.body], [404, 'Not Found\n'])
  })

  for (const [what, headers] of [
    ['a line break in a header', { Location: '/a\r\nSet-Cookie: b=c' }],
    ['a line break in the name of a header', { 'X\r\nSet-Cookie': 'b=c' }],
    ['a header without a name', { '': 'x' }],
    ['a header that cannot be written', { 'X-Why': unprintable as never }],
  ] as const) {
    it(`that refuses with ${what} fails, and is not written`, async t => {
      const server = await serve(t, {
        filters: [
          {
            connect: client => {
              assert.throws(() => client.refuse(302, 'x', headers), {
                code: 'ERR_STATE',
                message: /^refuse\(\) takes headers/,
              })
              return client.refuse(302, 'x', headers)
            },
          },
        ],
      })
      const answer = await ask(server.url, handshake(server.url))
      assert.deepEqual([answer.status, answer.headers['set-cookie']], [500, undefined])
      assert.equal(server.counters.errors, 1)
    })
  }

  it('that refuses with 304 does not write a body', async t => {
    const server = await serve(t, {
      filters: [{ connect: client => client.refuse(304, 'as before', { ETag: '"1"' }) }],
    })
    const { status, headers, body } = await ask(server.url, handshake(server.url))
    assert.deepEqual([status, body, headers.etag], [304, '', '"1"'])
    assert.deepEqual([headers['content-length'], headers['content-type']], [undefined, undefined])
  })

  it('that refuses with an invalid reason ends the connection', async t => {
    const server = await serve(t, {
      filters: [{ connect: client => client.refuse(403, unprintable as never) }],
      handshakeTimeout: 0,
    })
    const { socket } = await raw(server.url, handshake(server.url))
    await until(() => socket.closed, 'the end of the connection')
    assert.deepEqual([socket.bytesRead, { ...server.counters.refusals }], [0, { 403: 1 }])
  })

  for (const [how, connect] of [
    ['refuses', (client: Client) => client.refuse(403)],
    ['refuses later', async (client: Client) => client.refuse(403)],
    ['drops', () => DROP],
    ['disconnects', (client: Client) => client.disconnect()],
    ['fails', () => assert.fail('no')],
  ] as const) {
    it(`that ${how} aborts the signal of its client, so that filters release their resources`, async t => {
      const signals: AbortSignal[] = []
      const server = await serve(t, { filters: [{ connect: ({ signal }) => void signals.push(signal) }, { connect }] })
      await ask(server.url, handshake(server.url))
      assert.deepEqual(
        signals.map(({ aborted }) => aborted),
        [true],
      )
    })
  }

  it('may refuse later', async t => {
    const server = await serve(t, {
      filters: [
        {
          connect: async client => {
            await turn()
            return client.refuse(402, 'later')
          },
        },
      ],
    })
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.body], [402, 'later\n'])
  })

  for (const [how, connect] of [
    [
      'throws',
      () => {
        throw new Error('secret detail')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret detail'))],
    ['returns nonsense', () => true as never],
    ['refuses with a status that is none', (client: Client) => client.refuse(200)],
  ] as const) {
    it(`that ${how} refuses with 500, without the error`, async t => {
      const server = await serve(t, { filters: [{ connect }] })
      const answer = await ask(server.url, handshake(server.url))
      assert.deepEqual([answer.status, answer.body], [500, 'Internal Server Error\n'])
      assert.equal(server.counters.errors, 1)
    })
  }

  it('that drops refuses with 403', async t => {
    const server = await serve(t, { filters: [{ connect: () => DROP }] })
    assert.equal((await ask(server.url, handshake(server.url))).status, 403)
    assert.equal(server.counters.errors, 0)
  })

  for (const [name, connect] of [
    ['disconnect', (client: Client) => client.disconnect(4000, 'no')],
    ['close', async (client: Client) => client.close()],
  ] as const) {
    it(`that calls client.${name}() refuses with 403, and no client opens`, async t => {
      const server = await serve(t, { filters: [{ connect, open: () => assert.fail('not opened') }] })
      assert.equal((await ask(server.url, handshake(server.url))).status, 403)
      assert.equal(server.counters.opened, 0)
    })
  }

  it('gets the request: target, headers and offered subprotocols', async t => {
    const seen: unknown[] = []
    const server = await serve(t, {
      filters: [
        {
          connect: ({ handshake, remote }) => {
            const { url, headers, protocols, request } = handshake!
            seen.push(url.pathname, url.searchParams.get('b'), headers['x-mine'], protocols, request?.method, remote)
          },
          open: ({ handshake }) => void seen.push(handshake!.request === undefined),
        },
      ],
    })
    await Peer.open(`${server.url}/a?b=c`, { headers: { 'X-Mine': 'yes' } }, ['one', 'two'])
    await until(() => seen.length === 7)
    assert.deepEqual(seen, ['/a', 'c', 'yes', ['one', 'two'], 'GET', '127.0.0.1', true])
  })

  it('selects the subprotocol', async t => {
    const server = await serve(t, {
      filters: [
        {
          connect: async ({ handshake }) => {
            handshake!.protocol = 'two'
          },
        },
      ],
    })
    const peer = await Peer.open(server.url, {}, ['one', 'two'])
    assert.equal(peer.ws.protocol, 'two')
  })

  it('defaults to the first subprotocol of the client', async t => {
    const server = await serve(t, { filters: [{ connect: () => {} }] })
    assert.equal((await Peer.open(server.url, {}, ['one', 'two'])).ws.protocol, 'one')
    assert.equal((await Peer.open(server.url)).ws.protocol, '')
  })

  it('cannot select a subprotocol that the client did not offer', async t => {
    const server = await serve(t, {
      filters: [
        {
          connect: ({ handshake }) => {
            handshake!.protocol = 'three'
          },
        },
      ],
    })
    const answer = await ask(server.url, handshake(server.url, { 'Sec-WebSocket-Protocol': 'one, two' }))
    assert.deepEqual([answer.status, answer.headers['sec-websocket-protocol']], [101, undefined])
  })

  it('sends the first messages of the client when it opens', async t => {
    const { opened, open } = gate()
    const server = await serve(t, {
      filters: [
        {
          connect: async client => {
            client.send('from connect')
            await opened
            client.send(Buffer.from('from connect, later'))
          },
          open: client => client.send('from open'),
        },
      ],
    })
    const peer = await RawPeer.sendHandshake(server.url)
    const other = await raw(server.url, get(server.url))
    await other.answer()
    assert.equal(peer.head, '')
    open()
    assert.deepEqual(
      (await peer.get(3)).map(({ payload }) => String(payload)),
      ['from connect', 'from connect, later', 'from open'],
    )
    peer.socket.destroy()
  })

  it('that is async, with a peer that resets: signal aborted, no client, no disconnect chain', async t => {
    const { opened, open } = gate()
    const signals: AbortSignal[] = []
    const ran: string[] = []
    const server = await serve(t, {
      filters: [
        {
          connect: async client => {
            signals.push(client.signal)
            await opened
            client.send('hello')
            ran.push('connect')
          },
          open: () => void ran.push('open'),
          disconnect: () => void ran.push('disconnect'),
        },
      ],
      handshakeTimeout: 0,
    })
    const peer = await RawPeer.sendHandshake(server.url)
    await until(() => signals.length === 1)
    assert.equal(signals[0]!.aborted, false)
    peer.reset()
    await until(() => signals[0]!.aborted)
    open()
    await until(() => ran.length === 1)
    const other = await Peer.open(server.url)
    assert.deepEqual(await other.get(1), ['hello'])
    assert.deepEqual(ran, ['connect', 'connect', 'open'])
    assert.deepEqual([server.counters.opened, server.counters.errors], [1, 0])
  })

  it('slower than handshake-timeout is answered with 503, and its late result is ignored', async t => {
    const { opened, open } = gate()
    let finished = false
    const server = await serve(t, {
      filters: [
        {
          connect: async () => {
            await opened
            finished = true
          },
          open: () => assert.fail('opened'),
        },
      ],
      handshakeTimeout: 1,
    })
    const answer = await ask(server.url, handshake(server.url))
    assert.deepEqual([answer.status, answer.body], [503, 'the handshake took too long\n'])
    open()
    await until(() => finished)
    await turn()
    assert.deepEqual([server.counters.opened, server.clients.size], [0, 0])
  })

  it('slower than handshake-timeout sees the signal of its client aborted', async t => {
    const { opened, open } = gate()
    t.after(open)
    let signal: AbortSignal | undefined
    const connect = (client: Client) => {
      signal = client.signal
      return opened
    }
    const server = await serve(t, { filters: [{ connect }], handshakeTimeout: 1 })
    assert.equal((await ask(server.url, handshake(server.url))).status, 503)
    await until(() => signal!.aborted, 'the signal')
  })

  it('slower than filter-timeout refuses with 500', async t => {
    const server = await serve(t, { filters: [{ connect: () => new Promise(() => {}) }], filterTimeout: 0.05 })
    assert.equal((await ask(server.url, handshake(server.url))).status, 500)
    assert.equal(server.counters.errors, 1)
  })
})

describe('an open filter', () => {
  it('that fails closes its client with 1011, and the disconnect chain runs', async t => {
    const ends: number[] = []
    const server = await serve(t, {
      filters: [
        {
          open: () => {
            throw new Error('no')
          },
          disconnect: (_, { code }) => void ends.push(code),
        },
      ],
    })
    const peer = await Peer.open(server.url)
    assert.deepEqual(await peer.end(), { code: 1011, reason: 'a filter failed' })
    await until(() => ends.length > 0)
    assert.deepEqual(ends, [1011])
  })
})

describe('handshake-timeout', () => {
  it('closes a peer that does not finish its request headers', async t => {
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2 })
    const answer = await ask(server.url, `GET / HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\n`)
    assert.equal(answer.status, 408)
  })

  it('closes a peer that does not send', async t => {
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2 })
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    socket.resume()
    await once(socket, 'close')
  })

  it('does not apply to open clients', async t => {
    const server = await serve(t, { filters: ['echo'], handshakeTimeout: 1 })
    const peer = await Peer.open(server.url)
    // Its end shows that the deadline has passed for both.
    await ask(server.url, 'GET / HTTP/1.1\r\n')
    peer.send('still here')
    assert.deepEqual(await peer.get(1), ['still here'])
  })

  for (const seconds of [0, 4.02, 8.03, 16.01, 301, 3600]) {
    it(`may be ${seconds} s`, async t => {
      const server = await serve(t, { filters: [], handshakeTimeout: seconds })
      assert.equal(await upgradeStatus(server.url), 101)
    })
  }
})

describe('messages in the segment of the handshake', () => {
  const MESSAGES = Array.from({ length: 300 }, (_, i) => `${i}`)
  const extra = Buffer.concat(MESSAGES.map(text => frame(TEXT, text)))

  for (const [name, wait] of [
    ['sync', () => undefined],
    [
      'async',
      async () => {
        for (let i = 0; i < 5; i++) await turn()
      },
    ],
  ] as const) {
    for (const tap of [false, true]) {
      const data = tap ? { data: () => {} } : {}
      it(`arrive in order after ${name} connect and open filters${tap ? ', behind a data filter' : ''}`, async t => {
        const seen: Payload[] = []
        let ready = false
        const server = await serve(t, {
          filters: [
            {
              ...data,
              connect: wait,
              open: async () => {
                await wait()
                ready = true
              },
              message: payload => {
                assert.ok(ready)
                seen.push(payload)
              },
            },
          ],
        })
        const peer = await RawPeer.open(server.url, {}, extra)
        peer.send(frame(TEXT, 'last'))
        await until(() => seen.length > MESSAGES.length)
        assert.deepEqual(seen, [...MESSAGES, 'last'])
        peer.socket.destroy()
      })
    }
  }
})
