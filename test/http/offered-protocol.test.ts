import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { DROP, type FilterModule } from '../../src/index.ts'
import { authority, pemFiles } from '../support/certificates.ts'
import { ask, handshake } from '../support/frames.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'

const run = promisify(execFile)
const HAS_CURL = /\bHTTP2\b/.test(String(spawnSync('curl', ['--version']).stdout))
const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'
const BEHIND = 'GET /behind HTTP/1.1\r\nHost: localhost\r\n\r\n'
/** More than the kernel keeps for a peer that does not read. */
const LARGE = Buffer.alloc(24_000_000, 'x')

const request = (fields: string, start = 'GET / HTTP/1.1') => `${start}\r\nHost: localhost\r\n${fields}\r\n`

/** Answers with the method, the target and the body. */
function repeating(more: FilterModule = {}): { filter: FilterModule; handled: string[] } {
  const handled: string[] = []
  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<typeof DROP> => {
    handled.push(`${req.method} ${req.url}`)
    res.end(`${req.method} ${req.url} ${await text(req)}`)
    return DROP
  }
  return { filter: { request: answer, ...more }, handled }
}

/** Sends a request with a body as Node does. */
async function post(url: string, body: string): Promise<string> {
  const { request: start } = url.startsWith('wss') ? https : http
  const headers = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAARAAAAA' }
  const req = start(url.replace('ws', 'http'), { method: 'POST', headers, rejectUnauthorized: false })
  req.end(body)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  return text(res)
}

describe('a plain request that offers another protocol', () => {
  for (const [what, bytes, body] of [
    ['h2c, as curl', request(H2C), 'GET / '],
    ['h2c in other spellings', request('connection: UPGRADE\r\nupgrade: H2C\r\n'), 'GET / '],
    ['several', request('Connection: upgrade\r\nUpgrade: HTTP/2.0, SHTTP/1.3, IRC/6.9, RTA/x11\r\n'), 'GET / '],
    ['several in two fields', request('Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: TLS/1.0\r\n'), 'GET / '],
    ['a name that begins like websocket', request('Connection: Upgrade\r\nUpgrade: websockets\r\n'), 'GET / '],
    ['a version of websocket', request('Connection: Upgrade\r\nUpgrade: websocket/13\r\n'), 'GET / '],
    ['h2c for a path in absolute form', request(H2C, 'GET http://localhost/a?b HTTP/1.1'), 'GET /a?b '],
    ['h2c with HTTP/1.0', request(H2C, 'GET / HTTP/1.0'), 'GET / '],
    ['h2c with OPTIONS', request(H2C, 'OPTIONS * HTTP/1.1'), 'OPTIONS * '],
    ['h2c with an empty body', request(`${H2C}Content-Length: 0\r\n`, 'POST / HTTP/1.1'), 'POST / '],
    ['h2c with a body', `${request(`${H2C}Content-Length: 5\r\n`, 'PUT / HTTP/1.1')}hello`, 'PUT / hello'],
    [
      'h2c with chunks',
      `${request(`${H2C}Transfer-Encoding: chunked\r\n`, 'POST / HTTP/1.1')}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n`,
      'POST / hello',
    ],
  ] as const) {
    it(`is served as without the offer, then closed: ${what}`, async t => {
      const { filter } = repeating()
      const server = await serve(t, { filters: [filter] })
      const answer = await ask(server.url, bytes)
      const received = answer.headers['transfer-encoding'] === 'chunked' ? answer.body.split('\r\n')[1] : answer.body
      assert.deepEqual([answer.status, received, answer.headers.connection], [200, body, 'close'])
      assert.deepEqual({ ...server.counters.refusals }, {})
    })
  }

  it('is served behind a data filter', async t => {
    const server = await serve(t, { filters: [repeating({ data: () => {} }).filter] })
    assert.equal(await post(server.url, 'hello'), 'POST / hello')
  })

  it('is served over TLS', async t => {
    const [pems, write] = await Promise.all([authority('localhost'), pemFiles(t)])
    const [key, cert] = await Promise.all([write('key.pem', pems.key), write('cert.pem', pems.cert)])
    for (const more of [{}, { data: () => {} }]) {
      const server = await serve(t, { filters: [repeating(more).filter], key, cert })
      assert.equal(await post(server.url, 'hello'), 'POST / hello')
    }
  })

  it('is served to curl --http2', { skip: !HAS_CURL && 'needs curl with HTTP/2' }, async t => {
    const server = await serve(t, { filters: [repeating().filter] })
    const url = server.url.replace('ws', 'http')
    for (const [args, expected] of [
      [[], 'GET /  200'],
      [['-d', 'hello'], 'POST / hello 200'],
    ] as const) {
      const { stdout } = await run('curl', ['-sS', '--http2', '-w', ' %{http_code}', url, ...args])
      assert.equal(stdout, expected)
    }
  })

  it('gets all of a large answer', async t => {
    const root = await mkdtemp(join(tmpdir(), 'fws-'))
    t.after(() => rm(root, { recursive: true }))
    await writeFile(join(root, 'large.bin'), LARGE)
    const server = await serve(t, { filters: ['pages'], pagesRoot: root })
    const { socket, answer } = await raw(server.url, request(H2C, 'GET /large.bin HTTP/1.1'))
    await once(socket, 'data')
    assert.equal((await answer()).split('\r\n\r\n')[1]?.length, LARGE.length)
  })

  it('gets a body that comes in parts', async t => {
    const { filter, handled } = repeating()
    const server = await serve(t, { filters: [filter] })
    const { socket, answer } = await raw(server.url, request(`${H2C}Content-Length: 5\r\n`, 'POST / HTTP/1.1'))
    await until(() => handled.length === 1)
    socket.write('hello')
    assert.match(await answer(), /^HTTP\/1\.1 200 .*POST \/ hello$/s)
  })

  it('is the last of its connection: what is behind it is not handled', async t => {
    const { filter, handled } = repeating()
    const server = await serve(t, { filters: [filter] })
    for (const bytes of [
      request(H2C),
      `${request(H2C)}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
      request(H2C) + BEHIND,
      request(H2C) + request(H2C, 'GET /behind HTTP/1.1'),
    ]) {
      const { answer } = await raw(server.url, bytes)
      assert.match(await answer(), /^HTTP\/1\.1 200 (?:(?!HTTP\/1\.1).)*GET \/ $/s)
    }
    const { answer } = await raw(
      server.url,
      `${request(`${H2C}Content-Length: 5\r\n`, 'POST / HTTP/1.1')}hello${BEHIND}`,
    )
    assert.doesNotMatch(await answer(), /behind/)
    assert.deepEqual(new Set(handled), new Set(['GET /', 'POST /']))
  })

  it('may follow a request on the same connection', async t => {
    const { filter } = repeating()
    const server = await serve(t, { filters: [filter] })
    const { socket, answer } = await raw(server.url, BEHIND)
    await once(socket, 'data')
    socket.write(request(H2C))
    assert.match(await answer(), /^HTTP\/1\.1 200 .*GET \/behind HTTP\/1\.1 200 .*GET \/ $/s)
  })

  it('is checked as any other', async t => {
    const server = await serve(t, { filters: [repeating().filter] })
    const fields = Array.from({ length: 100 }, (_, i) => `a${i}: b\r\n`).join('')
    for (const [bytes, status] of [
      [request(H2C).replace('localhost', 'evil.example'), 403],
      [request(`${H2C}Host: localhost\r\n`), 400],
      [request(H2C, 'GET http://evil.example/ HTTP/1.1'), 400],
      [request(H2C + fields), 431],
      [request(`${H2C}Expect: 200-maybe\r\n`), 417],
    ] as const)
      assert.equal((await ask(server.url, bytes)).status, status, bytes)
  })

  it('that no filter answers gets 426', async t => {
    const server = await serve(t, { filters: ['echo'] })
    for (const bytes of [request(H2C), handshake(server.url, { Upgrade: 'smoke-signals' })]) {
      const answer = await ask(server.url, bytes)
      assert.equal(answer.status, 426)
      assert.match(answer.body, /^this is a WebSocket server$/m)
      assert.deepEqual([answer.headers.upgrade, answer.headers.connection], ['websocket', 'close, Upgrade'])
    }
  })

  it('is cut off when its peer does not read the answer', async t => {
    let hasEnded = false
    const filter: FilterModule = {
      request: (_, res) => {
        res.on('close', () => {
          hasEnded = true
        })
        res.end(LARGE)
        return DROP
      },
    }
    const server = await serve(t, { filters: [filter], heartbeat: 0.125, handshakeTimeout: 0.1 })
    const { socket } = await raw(server.url, request(H2C))
    socket.pause()
    await until(() => hasEnded, 'the end of the answer')
    socket.destroy()
  })

  it('whose peer resets leaves the server running', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const { socket } = await raw(server.url, request(`${H2C}Content-Length: 5\r\n`, 'POST / HTTP/1.1'))
    socket.resetAndDestroy()
    await Peer.open(server.url)
  })
})

describe('an offer of several protocols', () => {
  for (const offer of [
    'websocket',
    'WebSocket',
    'h2c, websocket',
    'websocket, h2c',
    'IRC/6.9 ,\tWEBSOCKET,',
    ',websocket',
  ]) {
    it(`is a handshake if one of them is websocket: ${JSON.stringify(offer)}`, async t => {
      const server = await serve(t, { filters: ['echo'] })
      const answer = await ask(server.url, handshake(server.url, { Upgrade: offer }))
      assert.deepEqual([answer.status, answer.headers.upgrade], [101, 'websocket'])
    })
  }

  it('in two fields is a handshake too', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const bytes = handshake(server.url, { Upgrade: 'h2c', upgrade: 'websocket' })
    assert.equal((await ask(server.url, bytes)).status, 101)
  })
})
