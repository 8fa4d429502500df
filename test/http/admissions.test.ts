import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { Agent, createServer as createHttp, type IncomingMessage } from 'node:http'
import https, { type RequestOptions } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import {
  type Client,
  DROP,
  type FilterModule,
  type Refusal,
  type Server,
  type ServerOptions,
  type Transport,
} from '../../src/index.ts'
import { ResponseStream } from '../../src/kit/index.ts'
import { authority, pemFiles, selfSignedFiles, signed } from '../support/certificates.ts'
import { door, eventFrame } from '../support/door.ts'
import { ask } from '../support/frames.ts'
import { gate } from '../support/gate.ts'
import {
  FOREIGN_ORIGINS,
  foreignHosts,
  LISTED_ORIGINS,
  MALFORMED_HOSTS,
  NO_ORIGINS,
} from '../support/hostile-headers.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'
import { SECRET, sign } from '../support/tokens.ts'

type Headers = Readonly<Record<string, string>>

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly res: IncomingMessage
}

/** Sends a request; settles with the head of the response. */
async function send(url: string, options: RequestOptions = {}, body?: string): Promise<Reply> {
  const { request } = url.startsWith('wss') ? https : http
  const req = request(url.replace('ws', 'http'), { agent: false, ...options })
  req.on('error', () => {})
  req.end(body)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  res.on('error', () => {})
  return { status: res.statusCode!, headers: res.headers, res }
}

/** Status and body of a request that ends; of a stream the connection is closed after its head. */
async function fetched(
  url: string,
  options?: RequestOptions,
  body?: string,
): Promise<[number, string, Reply['headers']]> {
  const { status, headers, res } = await send(url, options, body)
  if (headers['content-type'] !== 'text/event-stream') return [status, await text(res), headers]
  res.destroy()
  return [status, '', headers]
}

/** The bytes of a request on a connection that ends with it. */
const bytes = (target: string, headers: Headers, start = `GET ${target} HTTP/1.1`) =>
  `${start}\r\n${Object.entries({ Connection: 'close', ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`

/** Status and body of a request in bytes; a stream has no end, so only its head is awaited. */
async function asked(url: string, sent: string): Promise<[number, string]> {
  const { hostname, port } = new URL(url)
  if (!sent.includes('/stream')) {
    const { status, body } = await ask(url, sent)
    return [status, body]
  }
  const { socket } = await raw(`ws://${hostname}:${port}`, sent)
  let received = ''
  socket.on('data', chunk => {
    received += chunk
  })
  await until(() => /\r\n\r\n/.test(received) && (received.startsWith('HTTP/1.1 200') || socket.closed), 'an answer')
  socket.destroy()
  return [Number(received.split(' ')[1]), received.slice(received.indexOf('\r\n\r\n') + 4)]
}

const open = (t: TestContext, filters: NonNullable<ServerOptions['filters']>, options: ServerOptions = {}) =>
  serve(t, { filters, ...options })

for (const kind of ['request', 'stream'] as const) {
  const target = `/${kind}`

  describe(`an admitted ${kind}: checks`, () => {
    it('gives a client with the request', async t => {
      const { filter, clients } = door()
      const server = await open(t, [filter])
      const [status] = await fetched(`${server.url}${target}?a=b`, { headers: { 'X-Mine': 'yes' } })
      const [client] = clients
      const { kind: found, url, headers, protocols } = client!.handshake!
      assert.deepEqual(
        [status, found, url.href, headers['x-mine'], protocols, client!.remote, client!.server.clients instanceof Map],
        [200, kind, `${server.url.replace('ws', 'http')}${target}?a=b`, 'yes', [], '127.0.0.1', true],
      )
    })

    for (const host of MALFORMED_HOSTS)
      it(`refuses the Host ${JSON.stringify(host)} with 400`, async t => {
        const { filter, clients } = door()
        const server = await open(t, [filter], { host: '0.0.0.0' })
        const url = `ws://127.0.0.1:${new URL(server.url).port}`
        assert.deepEqual((await asked(url, bytes(target, { Host: host })))[0], 400)
        assert.deepEqual([{ ...server.counters.refusals }, clients.length], [{ 400: 1 }, 0])
      })

    it('refuses a foreign Host on loopback with 403', async t => {
      const { filter, clients } = door()
      const server = await open(t, [filter])
      const hosts = foreignHosts(new URL(server.url).port)
      for (const host of hosts)
        assert.deepEqual(await asked(server.url, bytes(target, { Host: host })), [
          403,
          `host ${host} is not served here; see --hosts\n`,
        ])
      assert.deepEqual([{ ...server.counters.refusals }, clients.length], [{ 403: hosts.length }, 0])
    })

    it('refuses a missing Host and a target without a path with 400, also of HTTP/1.0', async t => {
      const { filter, clients } = door()
      const server = await open(t, [filter], { host: '0.0.0.0' })
      const url = `ws://127.0.0.1:${new URL(server.url).port}`
      for (const sent of [
        bytes(target, {}),
        bytes(target, {}, `GET ${target} HTTP/1.0`),
        bytes(target, { Host: 'a' }, 'OPTIONS * HTTP/1.1'),
        bytes(target, { Host: 'a' }, `GET http://b${target} HTTP/1.1`),
      ])
        assert.equal((await asked(url, sent))[0], 400, sent)
      assert.deepEqual(clients, [])
    })

    it('refuses a foreign Origin with 403, and warns once a second', async t => {
      const { filter, clients } = door()
      const server = await open(t, [filter])
      const { host } = new URL(server.url)
      for (const [origin, part] of FOREIGN_ORIGINS) {
        const [status, body] = await fetched(server.url + target, { headers: { Origin: origin } })
        assert.equal(status, 403)
        assert.ok(
          body.startsWith(`origin ${origin} is not allowed: its ${part} is not that of the Host header, ${host}`),
          body,
        )
      }
      for (const origin of NO_ORIGINS)
        assert.equal((await fetched(server.url + target, { headers: { Origin: origin } }))[0], 403, origin)
      assert.deepEqual(
        [{ ...server.counters.refusals }, clients.length],
        [{ 403: FOREIGN_ORIGINS.length + NO_ORIGINS.length }, 0],
      )
    })

    it('allows its own Origin, those of --origins, and none', async t => {
      const server = await open(t, [door().filter], { origins: LISTED_ORIGINS.origins })
      const own = server.url.replace('ws', 'http')
      for (const [origin, isAllowed] of [[own, true], ...LISTED_ORIGINS.cases] as const)
        assert.equal(
          (await fetched(server.url + target, { headers: { Origin: origin } }))[0],
          isAllowed ? 200 : 403,
          origin,
        )
      assert.equal((await fetched(server.url + target))[0], 200)
    })

    it('refuses two Origin headers with 400', async t => {
      const server = await open(t, [door().filter], { origins: ['*'] })
      const { host } = new URL(server.url)
      const twice = bytes(target, { Host: host, Origin: 'http://a.example', origin: 'http://a.example' })
      assert.deepEqual(await asked(server.url, twice), [400, 'more than one Origin header\n'])
    })

    for (const [site, origin, origins, status] of [
      ['same-origin', undefined, [], 200],
      ['same-origin', 'null', [], 200],
      ['none', undefined, [], 200],
      ['cross-site', undefined, [], 403],
      ['same-site', undefined, [], 403],
      ['cross-site', undefined, ['https://a.example'], 403],
      ['cross-site', undefined, ['*'], 200],
      ['cross-site', 'https://a.example', ['https://a.example'], 200],
      ['cross-site', 'null', [], 403],
      ['none', 'http://evil.example', [], 403],
      ['same-origin, same-origin', 'http://evil.example', [], 403],
      ['Same-Origin', 'http://evil.example', [], 403],
    ] as const)
      it(`answers ${status} to Sec-Fetch-Site ${site} with the Origin ${origin} and --origins ${origins}`, async t => {
        const server = await open(t, [door().filter], { origins })
        const headers = { 'Sec-Fetch-Site': site, ...(origin !== undefined && { Origin: origin }) }
        assert.equal((await fetched(server.url + target, { headers }))[0], status)
      })

    it('takes the address from a trusted proxy', async t => {
      const { filter, clients } = door()
      const server = await open(t, [filter], { trustProxy: ['loopback'] })
      await fetched(server.url + target, { headers: { 'X-Forwarded-For': '9.9.9.9, 10.1.2.3' } })
      assert.equal(clients[0]!.remote, '10.1.2.3')
    })

    it('has the identity of a client certificate, and refuses an invalid one', async t => {
      const [ours, theirs] = [await authority('ours'), await authority('theirs')]
      const own = await signed(ours, { commonName: 'localhost' })
      const [ann, stranger] = [await signed(ours, { commonName: 'ann' }), await signed(theirs, { commonName: 'eve' })]
      const write = await pemFiles(t)
      const { filter, clients } = door()
      const server = await open(t, [filter], {
        key: await write('key.pem', own.key),
        cert: await write('cert.pem', own.cert),
        ca: await write('ca.pem', ours.cert),
        clientCert: 'optional',
      })
      const as = (pems: object) => ({ ca: ours.cert, servername: 'localhost', rejectUnauthorized: false, ...pems })
      assert.equal((await fetched(server.url + target, as(ann)))[0], 200)
      assert.equal((await fetched(server.url + target, as(stranger)))[0], 403)
      assert.deepEqual(
        clients.map(({ identity, handshake, state }) => [
          identity,
          handshake!.url.protocol,
          state.certificate?.subject.CN,
        ]),
        [['ann', 'https:', 'ann']],
      )
    })
  })

  describe(`an admitted ${kind}: the connect chain`, () => {
    for (const [what, connect, expected] of [
      [
        'a refusal',
        (client: Client) => client.refuse(401, 'who?', { 'WWW-Authenticate': 'Bearer' }),
        [401, 'who?\n', 'Bearer'],
      ],
      ['a refusal without a reason', async (client: Client) => client.refuse(404), [404, 'Not Found\n', undefined]],
      ['304', (client: Client) => client.refuse(304, 'as before'), [304, '', undefined]],
      ['DROP', () => DROP, [403, 'Forbidden\n', undefined]],
      ['disconnect()', async (client: Client) => client.disconnect(4000, 'no'), [403, 'Forbidden\n', undefined]],
      ['an error', () => assert.fail('secret detail'), [500, 'Internal Server Error\n', undefined]],
      ['a rejection', async () => assert.fail('secret detail'), [500, 'Internal Server Error\n', undefined]],
      ['a missing right', (client: Client) => client.join('staff'), [403, 'Forbidden\n', undefined]],
    ] as const)
      it(`refuses by ${what}, and releases the client`, async t => {
        const signals: AbortSignal[] = []
        const watch: FilterModule = { connect: ({ signal }) => void signals.push(signal) }
        const permit: FilterModule['permit'] = ({ topic }) => topic !== 'staff'
        const { filter, clients } = door()
        const server = await open(t, [watch, { connect, permit }, filter], { maxClients: 1 })
        for (let i = 0; i < 2; i++) {
          const [status, body, headers] = await fetched(server.url + target)
          assert.deepEqual([status, body, headers['www-authenticate']], expected)
        }
        assert.deepEqual([signals.map(({ aborted }) => aborted), clients], [[true, true], []])
        assert.deepEqual({ ...server.counters.refusals }, { [expected[0]]: 2 })
      })

    it('has a deadline', async t => {
      const signals: AbortSignal[] = []
      const { opened, open: release } = gate()
      t.after(release)
      const connect = ({ signal }: Client) => {
        signals.push(signal)
        return opened
      }
      const { filter, clients } = door()
      const server = await open(t, [{ connect }, filter], { handshakeTimeout: 1 })
      assert.deepEqual((await fetched(server.url + target)).slice(0, 2), [503, 'the handshake took too long\n'])
      assert.deepEqual([signals[0]!.aborted, clients, { ...server.counters.refusals }], [true, [], { 503: 1 }])
    })

    it('ends when the peer goes meanwhile: 499, which is not counted', async t => {
      const signals: AbortSignal[] = []
      const { opened, open: release } = gate()
      const connect = ({ signal }: Client) => {
        signals.push(signal)
        return opened
      }
      const { filter, clients, refusals } = door()
      const server = await open(t, [{ connect, open: () => assert.fail('not opened') }, filter], { maxClients: 1 })
      const { socket } = await raw(server.url, bytes(target, { Host: 'localhost' }))
      await until(() => signals.length === 1)
      socket.resetAndDestroy()
      await until(() => refusals.length === 1)
      release()
      await turn()
      assert.deepEqual([refusals[0]!.status, signals[0]!.aborted, clients], [499, true, []])
      assert.deepEqual([{ ...server.counters.refusals }, server.counters.errors], [{}, 0])
      // The place is free again.
      ;(await Peer.open(server.url)).ws.close()
    })

    it('is refused when the server stops, before it and in it', async t => {
      const { opened, open: release } = gate()
      let begun = 0
      const connect = () => {
        begun++
        return opened
      }
      const late = gate()
      const { filter, refusals } = door()
      const slow: FilterModule = {
        request: async req => {
          if (req.url!.endsWith('?late')) await late.opened
        },
      }
      const server = await open(t, [slow, { connect }, filter], { drain: 5 })
      const replies = [`${server.url}${target}`, `${server.url}${target}?late`].map(url => fetched(url))
      await until(() => begun === 1 && server.handlers[1]!.calls === 2)
      const closing = server.close()
      late.open()
      for (const reply of replies) {
        const [status, body, headers] = await reply
        assert.deepEqual([status, body, headers['retry-after']], [503, 'the server is shutting down\n', '1'])
      }
      release()
      await closing
      assert.deepEqual(
        refusals.map(({ status }) => status),
        [503, 503],
      )
    })
  })

  describe(`an admitted ${kind}: guards`, () => {
    const CHALLENGE = 'Bearer realm="filtered-websocket"'
    const by = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } })

    for (const [what, options, headers, status, body, challenge] of [
      ['without a token', {}, {}, 401, 'no token\n', CHALLENGE],
      ['without a token, also with --jwt-first-message', { jwtFirstMessage: true }, {}, 401, 'no token\n', CHALLENGE],
      [
        'with an expired token',
        {},
        by(sign({ exp: 1000 })).headers,
        401,
        'token refused: expired\n',
        `${CHALLENGE}, error="invalid_token", error_description="expired"`,
      ],
      [
        'with a forged token',
        {},
        by(sign({}, { key: 'another secret of thirty-two bytes' })).headers,
        401,
        'token refused: bad signature\n',
        `${CHALLENGE}, error="invalid_token", error_description="bad signature"`,
      ],
      [
        'with two tokens',
        { jwtCookie: 't' },
        { ...by(sign({ sub: 'ann' })).headers, Cookie: `t=${sign({ sub: 'eve' })}` },
        400,
        'token refused: two different tokens\n',
        `${CHALLENGE}, error="invalid_request", error_description="two different tokens"`,
      ],
    ] as const)
      it(`jwt refuses one ${what}`, async t => {
        const { filter, clients } = door()
        const server = await open(t, ['jwt', filter], { jwtSecret: SECRET, ...options })
        const [found, text, { 'www-authenticate': asked }] = await fetched(server.url + target, { headers })
        assert.deepEqual([found, text, asked, clients], [status, body, challenge, []])
      })

    for (const [where, options, target, headers] of [
      ['Authorization', {}, '', by(sign({ sub: 'ann' })).headers],
      ['a cookie', { jwtCookie: 't' }, '', { Cookie: `t=${sign({ sub: 'ann' })}` }],
      ['the query', { jwtQuery: true }, `?token=${sign({ sub: 'ann' })}`, {}],
    ] as const)
      it(`jwt admits one with a token in ${where}`, async t => {
        const { filter, clients } = door()
        const server = await open(t, ['jwt', filter], { jwtSecret: SECRET, ...options })
        assert.equal((await fetched(`${server.url}/${kind}${target}`, { headers }))[0], 200)
        assert.equal(clients[0]!.identity, 'ann')
      })

    it('jwt ends it when its token is revoked', async t => {
      let revoke: (which: { jti: string } | { sub: string }) => Promise<void>
      const user: FilterModule = {
        uses: ['jwt'],
        setup: host => {
          revoke = which => host.use('jwt').revoke(which)
        },
      }
      const { opened, open: release } = gate()
      t.after(release)
      const { filter, clients } = door(() => opened)
      const server = await open(t, ['jwt', user, filter], { jwtSecret: SECRET })
      for (const [i, [which, claims]] of [
        [{ jti: 'x' }, { sub: 'ann', jti: 'x' }] as const,
        [{ sub: 'bob' }, { sub: 'bob' }] as const,
      ].entries()) {
        const token = { Host: 'localhost', Authorization: `Bearer ${sign(claims)}` }
        const { socket } = await raw(server.url, bytes(target, token))
        await until(() => clients.length === i + 1)
        if (kind === 'stream') await until(() => server.clients.size === 1)
        const { signal } = clients[i]!
        await revoke!(which)
        await until(() => signal.aborted)
        socket.destroy()
      }
    })

    it('allow judges what its client does', async t => {
      const { filter, clients } = door()
      const server = await open(t, ['jwt', 'allow', filter], {
        jwtSecret: SECRET,
        allowRules: ['user join,publish chat/*'],
      })
      await fetched(server.url + target, by(sign({ sub: 'ann' })))
      const [client] = clients
      assert.deepEqual(
        [client!.may('publish', 'chat/a'), client!.may('publish', 'staff'), client!.may('publish')],
        [true, false, false],
      )
      const forbidden = { code: 'ERR_FORBIDDEN', message: 'not allowed to publish to "staff"' }
      assert.throws(() => client!.server.broadcast('x', { topic: 'staff' }), forbidden)
    })
  })
}

describe('an admitted request', () => {
  it('is a client that is never open and cannot send', async t => {
    const events: string[] = []
    const record = (name: string) => () => void events.push(name)
    const messages: unknown[] = []
    const { filter } = door(
      (client, _, res) => {
        for (const [name, call] of [
          ['send', () => client.send('x')],
          ['send', () => client.sendJson({})],
          ['answer', () => client.answer('x')],
          ['hold', () => client.hold()],
        ] as const)
          assert.throws(call, {
            code: 'ERR_STATE',
            message: `${name}() needs a client that gets messages; client ${client.id} is a request, which gets one response`,
          })
        assert.throws(() => client.refuse(400), { code: 'ERR_STATE' })
        client.join('news')
        client.server.broadcast('hello', { topic: 'news' })
        messages.push(client.transport, client.buffered, client.server.clients.size)
        res.end('done')
      },
      { connect: record('connect'), open: record('open'), disconnect: record('disconnect') },
    )
    const server = await open(t, [filter])
    assert.deepEqual((await fetched(`${server.url}/`)).slice(0, 2), [200, 'done'])
    assert.deepEqual([events, messages], [['connect'], ['http', 0, 0]])
    const { opened, closed, errors } = server.counters
    assert.deepEqual([opened, closed, errors], [0, 0, 0])
  })

  it('goes with its response: by its end, by the peer, by server.disconnect', async t => {
    const { filter, clients } = door((_, req, res) => void (req.url === '/end' && res.end('end')), {
      connect: client => {
        client.identity = 'ann'
      },
    })
    const server = await open(t, [filter], { maxClients: 1 })
    const gone: string[] = []
    for (const [how, act] of [
      ['/end', () => {}],
      ['/peer', ({ socket }: { socket: { resetAndDestroy(): void } }) => socket.resetAndDestroy()],
      ['/disconnect', () => server.disconnect({ sub: 'ann' })],
    ] as const) {
      const peer = await raw(server.url, bytes(how, { Host: 'localhost' }))
      await until(() => clients.length === gone.length + 1)
      const client = clients.at(-1)!
      client.onGone(() => void gone.push(how))
      act(peer)
      await until(() => client.signal.aborted, how)
      peer.socket.destroy()
    }
    assert.deepEqual(gone, ['/end', '/peer', '/disconnect'])
    assert.equal(server.counters.errors, 0)
  })

  it('counts in --max-clients, as sockets count for it', async t => {
    const { opened, open: release } = gate()
    t.after(release)
    const { filter, clients } = door((_, __, res) => opened.then(() => res.end('late')))
    const server = await open(t, [filter], { maxClients: 2 })
    const socket = await Peer.open(server.url)
    const first = fetched(`${server.url}/`)
    await until(() => clients.length === 1)
    const [status, body, headers] = await fetched(`${server.url}/`)
    assert.deepEqual([status, body, headers['retry-after']], [503, 'too many clients\n', '5'])
    await assert.rejects(Peer.open(server.url), /503/)
    release()
    assert.equal((await first)[1], 'late')
    await until(() => clients[0]!.signal.aborted)
    await Peer.open(server.url)
    socket.ws.close()
  })

  it('on a connection with several of them has a client of its own', async t => {
    const { filter, clients } = door()
    const server = await open(t, [filter], { maxClients: 1 })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    const ports = new Set<number>()
    for (let i = 0; i < 20; i++) {
      const { res } = await send(
        `${server.url}/`,
        { agent, method: i % 2 === 0 ? 'GET' : 'POST' },
        i % 2 === 0 ? '' : `${i}`,
      )
      ports.add(res.socket.localPort!)
      assert.equal(await text(res), i % 2 === 0 ? 'hello stranger' : `${i}`)
      await until(() => clients[i]!.signal.aborted)
    }
    assert.deepEqual([ports.size, new Set(clients.map(({ id }) => id)).size], [1, 20])
  })

  it('that is pipelined is answered in order; the end of the connection ends all', async t => {
    const gates = [gate(), gate(), gate()]
    const { filter, clients } = door(async (_, req, res) => {
      const i = Number(req.url!.slice(1))
      await gates[i]!.opened
      res.end(`<${i}>`)
    })
    const server = await open(t, [filter])
    const warnings: string[] = []
    const warn = ({ name }: Error) => void warnings.push(name)
    process.on('warning', warn)
    t.after(() => process.off('warning', warn))
    const three = [0, 1, 2].map(i => bytes(`/${i}`, { Host: 'localhost', Connection: 'keep-alive' })).join('')
    const { socket } = await raw(server.url, three)
    let received = ''
    socket.on('data', chunk => {
      received += chunk
    })
    await until(() => clients.length === 3)
    gates[1]!.open()
    await turn()
    assert.deepEqual([received, clients.map(({ signal }) => signal.aborted)], ['', [false, false, false]])
    gates[0]!.open()
    await until(() => received.includes('<1>'))
    assert.deepEqual(received.match(/<\d>/g), ['<0>', '<1>'])
    await until(() => clients[1]!.signal.aborted)
    assert.deepEqual(
      clients.map(({ signal }) => signal.aborted),
      [true, true, false],
    )
    socket.destroy()
    await until(() => clients[2]!.signal.aborted)
    gates[2]!.open()

    // At the limit of pipelining, with queued responses.
    const many = await raw(server.url, bytes('/3', { Host: 'localhost', Connection: 'keep-alive' }).repeat(32))
    gates.push(gate())
    await until(() => clients.length === 35)
    many.socket.destroy()
    await until(() => clients.every(({ signal }) => signal.aborted))
    gates[3]!.open()
    assert.deepEqual([warnings, server.counters.errors], [[], 0])
  })

  it('of HEAD gets the head of the response, also of a refusal', async t => {
    const { filter } = door((_, __, res) => res.writeHead(200, { 'X-Mine': 'yes' }).end('body'))
    const server = await open(t, ['jwt', filter], { jwtSecret: SECRET, jwtQuery: true })
    const [status, body, headers] = await fetched(`${server.url}/?token=${sign({})}`, { method: 'HEAD' })
    assert.deepEqual([status, body, headers['x-mine']], [200, '', 'yes'])
    const refused = await fetched(`${server.url}/`, { method: 'HEAD' })
    assert.deepEqual(
      [refused[0], refused[1], refused[2]['www-authenticate']],
      [401, '', 'Bearer realm="filtered-websocket"'],
    )
  })

  it('that is refused is not read: its connection ends', async t => {
    const server = await open(t, ['jwt', door().filter], { jwtSecret: SECRET })
    const { answer } = await raw(
      server.url,
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`,
    )
    const answered = await answer()
    assert.match(answered, /^HTTP\/1.1 401 Unauthorized\r\n/)
    assert.match(answered, /\r\nConnection: close\r\n/i)
  })

  it('is handled by the filters of its path', async t => {
    const seen: string[] = []
    const { filter } = door(undefined, { paths: ['/api'], connect: () => void seen.push('own') })
    const server = await open(t, [{ connect: () => void seen.push('other') }, filter])
    assert.equal((await fetched(`${server.url}/api/x`))[1], 'hello stranger')
    assert.deepEqual(seen, ['own'])
  })

  it('with a forbidden publish is answered with 403, which is no error of the filter', async t => {
    const { filter } = door(async (client, req, res, server) => {
      if (req.url === '/sent') res.write('half')
      if (req.url === '/own') server.broadcast('x')
      else client.server.broadcast('x', { topic: req.url!.slice(1) })
      res.end('published')
    })
    const server = await open(t, ['allow', filter], { allowRules: ['anyone publish chat'] })
    for (const [path, status, body] of [
      ['/chat', 200, 'published'],
      ['/own', 200, 'published'],
      ['/staff', 403, 'not allowed to publish to "staff"\n'],
    ] as const)
      assert.deepEqual((await fetched(server.url + path)).slice(0, 2), [status, body])
    assert.deepEqual([server.counters.errors, { ...server.counters.refusals }], [0, { 403: 1 }])
    await assert.rejects(fetched(`${server.url}/sent`))
    assert.equal(server.counters.errors, 1)
  })

  for (const [what, options, requests] of [
    ['messages of an address', { rateLimitMessages: 2 }, [200, 200, 429]],
    ['bytes of an address', { rateLimitBytes: 100 }, [200, 200, 429]],
    ['messages of an identity', { rateLimitIdentityMessages: 2 }, [200, 200, 429]],
    ['bytes of an identity', { rateLimitIdentityBytes: 100 }, [200, 200, 429]],
  ] as const)
    for (const guards of [
      ['jwt', 'rate-limit'],
      ['rate-limit', 'jwt'],
    ])
      it(`is limited by ${what}: -f ${guards.join(' ')}`, async t => {
        t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0, 1) })
        const server = await open(t, [...guards, door().filter], { jwtSecret: SECRET, ...options })
        const post = (token: string) =>
          fetched(`${server.url}/`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } }, 'x'.repeat(50))
        const exp = Date.UTC(2026, 0, 1) / 1000 + 60
        const ann = sign({ sub: 'ann', exp })
        const statuses: number[] = []
        for (const _ of requests) statuses.push((await post(ann))[0])
        assert.deepEqual(statuses, requests)
        const [, body, headers] = await post(ann)
        const whose = what.endsWith('address') ? 'from your address' : 'of this identity'
        assert.deepEqual([body, headers['retry-after']], [`too many requests ${whose}\n`, '1'])
        assert.equal((await post(sign({ sub: 'bob', exp })))[0], what.endsWith('address') ? 429 : 200)
        t.mock.timers.tick(1000)
        assert.equal((await post(ann))[0], 200)
      })

  it('is not charged as a connection by rate-limit, and a stream is', async t => {
    const server = await open(t, ['rate-limit', door().filter], { rateLimitConnects: 2 })
    for (let i = 0; i < 5; i++) assert.equal((await fetched(`${server.url}/`))[0], 200)
    const streams: number[] = []
    for (let i = 0; i < 3; i++) streams.push((await fetched(`${server.url}/stream`))[0])
    assert.deepEqual(streams, [200, 200, 429])
  })

  it('of another server, or in another form, is a mistake of the filter', async t => {
    const server = await open(t, [{ message: () => {} }])
    const other = createHttp((req, res) => {
      server.admit(req, { for: 'request' }).then(
        () => res.end('admitted'),
        (error: Error & { code: string }) => res.end(`${error.code}: ${error.message}`),
      )
    })
    other.listen(0, '127.0.0.1')
    t.after(() => void other.close())
    await once(other, 'listening')
    const [, body] = await fetched(`ws://127.0.0.1:${(other.address() as AddressInfo).port}/`)
    assert.equal(body, 'ERR_STATE: admit() takes a request that came to the port of this server')
    for (const [as, received] of [
      [undefined, 'undefined'],
      [{}, '{}'],
      [{ for: 'socket' }, '{"for":"socket"}'],
      [{ for: 'stream' }, '{"for":"stream"}'],
      [{ for: 'stream', frame: 'x' }, '{"for":"stream","frame":"x"}'],
    ] as const)
      await assert.rejects(server.admit({} as IncomingMessage, as as never), {
        code: 'ERR_STATE',
        message: `admit() takes { for: 'request' } or { for: 'stream', frame }, received ${received}`,
      })
  })

  it('that is answered already, or whose peer has gone, gets 499', async t => {
    const late = gate()
    const seen: (Client | Refusal)[] = []
    let peer: Socket | undefined
    const server = await open(t, [
      {
        request: async (req, res, server) => {
          if (req.url === '/answered') res.end('answered')
          else peer = req.socket
          await late.opened
          seen.push(await server.admit(req, { for: 'request' }))
          return DROP
        },
      },
    ])
    assert.equal((await fetched(`${server.url}/answered`))[1], 'answered')
    const { socket } = await raw(server.url, bytes('/gone', { Host: 'localhost' }))
    await until(() => peer !== undefined)
    socket.resetAndDestroy()
    await until(() => peer!.closed)
    late.open()
    await until(() => seen.length === 2)
    assert.deepEqual(
      seen.map(found => 'status' in found && found.status),
      [499, 499],
    )
    await until(() => server.clients.size === 0)
  })
})

describe('the stream of a client', () => {
  /** Reads a stream; `end` settles with how it ended. */
  async function listen(url: string, headers: Headers = {}) {
    const { status, res } = await send(url, { headers })
    assert.equal(status, 200)
    const reader = { text: '', ended: undefined as string | undefined, res }
    res.setEncoding('utf8')
    res.on('data', chunk => {
      reader.text += chunk
    })
    res.on('end', () => {
      reader.ended ??= 'end'
    })
    res.on('error', () => {
      reader.ended ??= 'cut'
    })
    return reader
  }

  /** Records the calls of open, message and disconnect handlers. */
  function recorded(more: FilterModule = {}) {
    const events: unknown[] = []
    const filter: FilterModule = {
      open: client => void events.push(['open', client.transport]),
      disconnect: (_, { code, reason, clean }) => void events.push(['disconnect', code, reason, clean]),
      ...more,
    }
    return { events, filter }
  }

  it('gets messages in order, sent in the connect chain, in open, to it, to all and to its topics', async t => {
    const { filter, clients } = door()
    const server = await open(t, [
      {
        connect: async client => {
          client.send('from connect')
          await turn()
          client.join('news')
        },
        open: client => client.send('from open'),
      },
      filter,
    ])
    const stream = await listen(`${server.url}/stream`)
    await until(() => server.clients.size === 1)
    const [client] = clients
    assert.deepEqual([client!.handshake!.request, client!.transport], [undefined, 'events'])
    client!.send('one\ntwo')
    server.broadcast('three', { topic: 'news' })
    server.broadcast('four')
    client!.sendJson({ five: 5 })
    await until(() => stream.text.includes('five'))
    assert.equal(
      stream.text,
      ['from connect', 'from open', 'one\ndata: two', 'three', 'four', '{"five":5}']
        .map(data => `data: ${data}\n\n`)
        .join(''),
    )
  })

  it('shares the chain and the topics with sockets', async t => {
    const { events, filter: record } = recorded()
    const server = await open(t, [record, door().filter, 'broadcast'])
    const stream = await listen(`${server.url}/stream`)
    const peer = await Peer.open(server.url)
    peer.send('hello')
    await until(() => stream.text === 'data: hello\n\n')
    assert.deepEqual(events, [
      ['open', 'events'],
      ['open', 'websocket'],
    ])
  })

  for (const [by, act, ended, closed] of [
    ['the server', (client: Client) => client.disconnect(4000, 'enough'), 'end', [4000, 'enough', true]],
    [
      'server.disconnect',
      (client: Client, server: Server) => server.disconnect({ id: client.id }),
      'end',
      [1000, '', true],
    ],
    [
      'an error of the response',
      (_: Client, __: Server, socket: ResponseStream) => socket.destroy(),
      'cut',
      [1006, '', false],
    ],
    [
      'the peer',
      (_: Client, __: Server, ___: unknown, res: IncomingMessage) => res.destroy(),
      'cut',
      [1006, '', false],
    ],
  ] as const)
    it(`is closed by ${by}`, async t => {
      const { events, filter: record } = recorded()
      let socket: ResponseStream | undefined
      const { filter, clients } = door()
      const spy: FilterModule = {
        // The transport is not visible to filters: the response is.
        request: (_, res) => {
          socket = new ResponseStream(res)
        },
      }
      const server = await open(t, [spy, record, filter])
      const stream = await listen(`${server.url}/stream`)
      await until(() => server.clients.size === 1)
      clients[0]!.send('last')
      await until(() => stream.text !== '')
      act(clients[0]!, server, socket!, stream.res)
      await until(() => events.length === 2)
      assert.deepEqual(events, [
        ['open', 'events'],
        ['disconnect', ...closed],
      ])
      await until(() => stream.ended !== undefined || by === 'the peer')
      if (by !== 'the peer') assert.deepEqual([stream.text, stream.ended], ['data: last\n\n', ended])
      assert.equal(clients[0]!.signal.aborted, true)
      await until(() => server.clients.size === 0)
    })

  for (const isEncrypted of [false, true])
    it(`is closed when the peer ends its side, ${isEncrypted ? 'over TLS' : 'without TLS'}`, async t => {
      const { events, filter: record } = recorded()
      const { files } = await selfSignedFiles(t)
      const server = await open(t, [record, door().filter], isEncrypted ? files : {})
      const to = { host: '127.0.0.1', port: Number(new URL(server.url).port) }
      const socket = isEncrypted ? connectTls({ ...to, rejectUnauthorized: false }) : connect(to)
      socket.on('error', () => {}).resume()
      socket.write(bytes('/stream', { Host: 'localhost' }))
      await until(() => server.clients.size === 1)
      socket.end()
      await until(() => events.length === 2)
      assert.deepEqual(events[1], ['disconnect', 1006, '', false])
      await until(() => socket.destroyed)
    })

  it('is closed with 1001 when the server stops, after its messages', async t => {
    const { events, filter: record } = recorded()
    const { filter, clients } = door()
    const server = await open(t, [record, filter])
    const streams = [await listen(`${server.url}/stream`), await listen(`${server.url}/stream`)]
    await until(() => server.clients.size === 2)
    for (const client of clients) client.send('last')
    await server.close()
    for (const stream of streams) {
      await until(() => stream.ended !== undefined)
      assert.deepEqual([stream.text, stream.ended], ['data: last\n\n', 'end'])
    }
    assert.deepEqual(events.slice(2), Array(2).fill(['disconnect', 1001, 'server is shutting down', true]))
  })

  it('that is not read is closed as any slow client', async t => {
    const { events, filter: record } = recorded()
    const { filter, clients } = door()
    const server = await open(t, [record, filter], { maxBuffered: 65_536 })
    const { socket } = await raw(server.url, bytes('/stream', { Host: 'localhost' }))
    socket.pause()
    await until(() => server.clients.size === 1)
    const message = 'x'.repeat(60_000)
    await until(async () => {
      if (server.clients.size > 0) clients[0]!.send(message)
      await turn()
      return server.clients.size === 0
    }, 'the close of a slow client')
    assert.deepEqual({ ...server.counters.closes }, { 1013: 1 })
    socket.destroy()
    await until(() => events.length === 2)
  })

  it('counts in --max-clients: 1,000 of them', async t => {
    const server = await open(t, [door().filter], { maxClients: 1000 })
    const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY })
    const streams = await Promise.all(Array.from({ length: 1000 }, () => send(`${server.url}/stream`, { agent })))
    assert.ok(streams.every(({ status }) => status === 200))
    await until(() => server.clients.size === 1000)
    const refused = await fetched(`${server.url}/stream`)
    assert.deepEqual(refused.slice(0, 2), [503, 'too many clients\n'])
    await assert.rejects(Peer.open(server.url), /503/)
    const received = Promise.all(streams.map(({ res }) => once(res, 'data')))
    server.broadcast('hello')
    for (const [chunk] of await received) assert.equal(String(chunk), 'data: hello\n\n')
    streams[0]!.res.destroy()
    await until(() => server.clients.size === 999)
    assert.equal((await send(`${server.url}/stream`)).status, 200)
    for (const { res } of streams) res.destroy()
  })

  it('is attached once, with its framing, and only while it is connected', async t => {
    const problems: string[] = []
    const fails = (run: () => unknown) =>
      assert.throws(run, ({ code, message }: Error & { code: string }) => problems.push(`${code}: ${message}`) > 0)
    const at = gate()
    let peer: Socket | undefined
    const server = await open(t, [
      {
        request: async (req, res, server) => {
          const transport = {
            name: 'events',
            remote: '',
            frame: eventFrame,
            socket: new ResponseStream(res),
            pause() {},
            resume() {},
            close() {},
            destroy() {},
          } satisfies Transport
          const asStream = { for: 'stream', frame: eventFrame } as const
          const client = (await server.admit(req, asStream)) as Client
          const other = (await server.admit(req, { for: 'request' })) as Client
          fails(() => server.attach({ ...transport, frame: payload => eventFrame(payload) }, client))
          fails(() => server.attach(transport, other))
          fails(() => server.attach(transport, { status: 403, reason: 'no', headers: undefined } as never))
          fails(() => server.attach(transport, { ...client } as never))
          const { closed } = server.attach(transport, client)
          fails(() => server.attach(transport, client))
          const late = (await server.admit(req, asStream)) as Client
          const ended = (await server.admit(req, asStream)) as Client
          ended.disconnect()
          fails(() => server.attach(transport, ended))
          peer = req.socket
          await at.opened
          fails(() => server.attach(transport, late))
          closed(1006, '', false)
          return DROP
        },
      },
    ])
    const { socket } = await raw(server.url, bytes('/', { Host: 'localhost' }))
    await until(() => peer !== undefined)
    socket.destroy()
    await until(() => peer!.closed)
    at.open()
    await until(() => problems.length === 7)
    assert.deepEqual(
      problems.map(problem =>
        problem.replace(/client [\da-f-]{36}/, 'client ID').replace(/received .*/, 'received ...'),
      ),
      [
        'ERR_STATE: attach() takes a transport with the frame function that admit() was given',
        'ERR_STATE: attach() takes a client that admit() returned for a stream, once',
        'ERR_STATE: attach() takes a client of admit(), or a source with the order of a filter in "after", received ...',
        'ERR_STATE: attach() takes a client of admit(), or a source with the order of a filter in "after", received ...',
        'ERR_STATE: attach() takes a client that admit() returned for a stream, once',
        'ERR_STATE: attach() of client ID, which is not connected',
        'ERR_STATE: attach() of client ID, which is not connected',
      ],
    )
    await until(() => server.clients.size === 0)
  })
})
