// Attacks, their visible results and the log, against the built command. SECURITY.md lists
// the tests that prove the rest.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { type Launched, launch } from '../support/cli.ts'
import { BINARY, CLOSE, CONTINUATION, closeFrame, frame, handshake, PING, RawPeer, TEXT } from '../support/frames.ts'
import { metricsOf } from '../support/metrics.ts'
import { becomes, Peer, raw, until } from '../support/peer.ts'
import { recovered, resourcesOf, watched } from '../support/resources.ts'

const MIB = 1_048_576
/** Memory growth within the limits. */
const BOUNDED = 200 * MIB

/** A server that logs at debug level; `filters` follow `health` and the resources filter. */
async function start(t: TestContext, filters: readonly string[], options: readonly string[] = []): Promise<Launched> {
  const argv = [...watched.argv, ...filters, '--log-level', 'debug', '--drain', '0', ...options]
  return launch(t, argv, { command: watched.command })
}

/** The log lines of a kind of event from a line on, shortened. */
function logLines(server: Launched, message: string, from = 0): readonly unknown[] {
  return server
    .logged()
    .slice(from)
    .filter(({ msg }) => msg === message)
    .map(({ reason, code, err, status }) => [status, reason ?? code ?? (err as { code?: string } | undefined)?.code])
}

/** Another client is served. */
async function servesOthers(server: Launched): Promise<void> {
  const peer = await Peer.open(server.url)
  peer.send('still here')
  assert.deepEqual(await peer.get(1), ['still here'])
  peer.ws.close(1000)
  await peer.end()
}

/** Bytes after the header fields of the handshake. */
function handshakeWith(server: Launched, fields: string, first?: string): string {
  return handshake(server.url, {}, first).replace(/\r\n$/, `${fields}\r\n`)
}

describe('request smuggling', () => {
  let server: Launched
  const undo: (() => void | Promise<void>)[] = []
  before(async () => {
    const argv = [...watched.argv, 'echo', '--log-level', 'debug', '--drain', '0']
    server = await launch({ after: fn => undo.push(fn) }, argv)
  })
  after(async () => {
    for (const fn of undo) await fn()
  })

  const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n'
  const post = (fields: string, body: string) => () => `POST / HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n${body}`
  const shake = (fields: string) => (server: Launched) => handshakeWith(server, fields)

  for (const [what, bytes, log] of [
    [
      'two framings of one body',
      post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'HPE_INVALID_TRANSFER_ENCODING',
    ],
    [
      'two framings of a handshake',
      shake('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n'),
      'HPE_INVALID_TRANSFER_ENCODING',
    ],
    [
      'a coding behind chunked',
      post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'),
      'HPE_INVALID_TRANSFER_ENCODING',
    ],
    ['two lengths', post('Content-Length: 4\r\nContent-Length: 5\r\n', 'abcde'), 'HPE_UNEXPECTED_CONTENT_LENGTH'],
    ['a length with a sign', post('Content-Length: +4\r\n', 'abcd'), 'HPE_INVALID_CONTENT_LENGTH'],
    ['a negative length', post('Content-Length: -1\r\n', ''), 'HPE_INVALID_CONTENT_LENGTH'],
    ['a folded field', shake('X-A: b\r\n c\r\n'), 'HPE_INVALID_HEADER_TOKEN'],
    ['a folded Transfer-Encoding', shake('Transfer-Encoding:\r\n chunked\r\n'), 'HPE_INVALID_HEADER_TOKEN'],
    ['a carriage return in a value', shake('X-A: b\rX-B: c\r\n'), 'HPE_LF_EXPECTED'],
    ['a line feed in a value', shake('X-A: b\nX-B: c\r\n'), 'HPE_CR_EXPECTED'],
    ['a NUL in a value', shake('X-A: b\0c\r\n'), 'HPE_INVALID_HEADER_TOKEN'],
    ['a NUL in a name', shake('X\0A: b\r\n'), 'HPE_INVALID_HEADER_TOKEN'],
    ['a blank before the colon', shake('Transfer-Encoding : chunked\r\n'), 'HPE_INVALID_HEADER_TOKEN'],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'HPE_PAUSED_H2_UPGRADE'],
  ] as const) {
    it(`by ${what} gets one 400, and the bytes after it are not read`, async () => {
      const known = server.logged().length
      const { answer } = await raw(server.url, bytes(server) + SMUGGLED)
      assert.match(await answer(), /^HTTP\/1\.1 400 Bad Request\r\n(?:(?!HTTP\/1\.1).)*\r\n\r\nBad Request\n$/s)
      await becomes(() => logLines(server, 'bad request', known), [[400, log]])
      await servesOthers(server)
    })
  }

  for (const [what, bytes, status, reason] of [
    ['another Host behind the first', shake('Host: evil.example\r\n'), 400, 'more than one Host header'],
    [
      'the target of a proxy',
      (server: Launched) => handshake(server.url, {}, 'GET http://evil.example/ HTTP/1.1'),
      400,
      'bad request target',
    ],
    [
      'HTTP/1.0',
      (server: Launched) => handshake(server.url, {}, 'GET / HTTP/1.0'),
      400,
      'a WebSocket handshake is HTTP/1.1, received HTTP/1.0',
    ],
    [
      'two Origins',
      (server: Launched) =>
        handshakeWith(server, `Origin: http://${new URL(server.url).host}\r\nOrigin: http://evil.example\r\n`),
      400,
      'more than one Origin header',
    ],
    [
      'an Origin that ends like its own',
      (server: Launched) => handshakeWith(server, `Origin: http://evil.example#${new URL(server.url).host}\r\n`),
      403,
      undefined,
    ],
    [
      'an Origin that begins like its own',
      (server: Launched) => handshakeWith(server, `Origin: http://${new URL(server.url).host}@evil.example\r\n`),
      403,
      undefined,
    ],
  ] as const) {
    it(`by ${what} is refused with ${status}`, async () => {
      const known = server.logged().length
      const { answer } = await raw(server.url, bytes(server))
      const text = await answer()
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `))
      await until(() => logLines(server, 'handshake refused', known).length > 0, 'a log line')
      const [[loggedStatus, loggedReason] = [], ...more] = logLines(server, 'handshake refused', known) as [
        number,
        string,
      ][]
      assert.deepEqual([loggedStatus, more], [status, []])
      if (reason === undefined) assert.match(loggedReason!, /^origin .* is not allowed.*; see --origins$/)
      else assert.equal(loggedReason, reason)
      assert.ok(text.endsWith(`\r\n\r\n${loggedReason}\n`))
    })
  }

  it('by an upgrade to HTTP/2 gets one answer, and the bytes after it are not read', async () => {
    const bytes = handshake(server.url, { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings' }) + SMUGGLED
    const { answer } = await raw(server.url, bytes)
    assert.match(
      await answer(),
      /^HTTP\/1\.1 426 (?:(?!HTTP\/1\.1).)*Connection: close, Upgrade\r\n(?:(?!HTTP\/1\.1).)*$/s,
    )
  })

  it('by two Hosts of a plain request gets one 400', async () => {
    const refused = async () => (await metricsOf(server)).get('fws_refused_total{status="400"}') ?? 0
    const known = await refused()
    const { answer } = await raw(
      server.url,
      `GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n${SMUGGLED}`,
    )
    assert.match(await answer(), /^HTTP\/1\.1 400 (?:(?!HTTP\/1\.1).)*more than one Host header\n/s)
    assert.equal(await refused(), known + 1)
  })

  it('by CONNECT closes the connection', async () => {
    const { answer } = await raw(server.url, 'CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    assert.equal(await answer(), '')
    await servesOthers(server)
  })
})

describe('slowness', () => {
  const IMPATIENT = ['--handshake-timeout', '3', '--heartbeat', '1']

  it('of 300 peers that drip header fields is cut off with 408, and others are served meanwhile', async t => {
    const server = await start(t, ['echo'], IMPATIENT)
    const peers = await Promise.all(
      Array.from({ length: 300 }, () => raw(server.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n')),
    )
    const drip = setInterval(() => {
      for (const { socket } of peers) if (socket.writable) socket.write('X: y\r\n')
    }, 50)
    t.after(() => clearInterval(drip))
    await servesOthers(server)
    const answers = await Promise.all(peers.map(({ answer }) => answer()))
    for (const text of answers) assert.match(text, /^(?:HTTP\/1\.1 408 Request Timeout\r\n|$)/)
    await becomes(() => logLines(server, 'bad request'), Array(300).fill([408, 'ERR_HTTP_REQUEST_TIMEOUT']))
  })

  it('of a peer that drips the body of a plain request does not outlive its answer', async t => {
    const server = await start(t, ['echo'], ['--handshake-timeout', '120'])
    const bytes = 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n'
    const { socket, answer } = await raw(server.url, bytes)
    const drip = setInterval(() => socket.write('x'), 50)
    t.after(() => clearInterval(drip))
    const begun = Date.now()
    assert.match(await answer(), /^HTTP\/1\.1 426 .*Connection: close/s)
    assert.ok(Date.now() - begun < 20_000)
    assert.equal((await metricsOf(server)).get('fws_refused_total{status="426"}'), 1)
  })

  it('of 1,000 peers that drip bodies does not outlive the answers, and others are served meanwhile', async t => {
    const server = await start(t, ['echo'])
    await servesOthers(server)
    const before = await resourcesOf(server)
    const fields = ['Content-Length: 100000', 'Transfer-Encoding: chunked', 'Expect: 100-continue\r\nContent-Length: 9']
    const peers: Awaited<ReturnType<typeof raw>>[] = []
    while (peers.length < 1000) {
      const some = Array.from({ length: 100 }, (_, i) =>
        raw(server.url, `POST / HTTP/1.1\r\nHost: localhost\r\n${fields[i % fields.length]}\r\n\r\n`),
      )
      peers.push(...(await Promise.all(some)))
    }
    const drip = setInterval(() => {
      for (const { socket } of peers) if (socket.writable) socket.write('1')
    }, 500)
    t.after(() => clearInterval(drip))
    await servesOthers(server)
    for (const { answer } of peers) assert.match(await answer(), /HTTP\/1\.1 426 /)
    await recovered(server, before)
  })

  it('of open clients that send nothing is ended by the heartbeat', async t => {
    const server = await start(t, ['echo'], IMPATIENT)
    const silent = await RawPeer.open(server.url)
    await silent.end()
    assert.deepEqual(
      silent.frames.map(({ opcode }) => opcode),
      [PING],
    )
    assert.equal((await metricsOf(server)).get('fws_closed_total{code="1006"}'), 1)
  })

  it('of 10,000 connections that send nothing ends with all of them, and others are served meanwhile', async t => {
    const server = await start(t, ['echo'], ['--handshake-timeout', '3'])
    await servesOthers(server)
    const before = await resourcesOf(server)
    const { hostname, port } = new URL(server.url)
    const sockets: Socket[] = []
    t.after(() => {
      for (const socket of sockets) socket.destroy()
    })
    let ended = 0
    while (sockets.length < 10_000) {
      const some = Array.from({ length: 250 }, () => connect(Number(port), hostname))
      for (const socket of some)
        socket
          .on('error', () => {})
          .once('close', () => ended++)
          .resume()
      await Promise.all(some.map(socket => once(socket, 'connect')))
      sockets.push(...some)
    }
    await servesOthers(server)
    const { rss } = await resourcesOf(server)
    assert.ok(rss - before.rss < BOUNDED, `${rss - before.rss} bytes more`)
    await until(() => ended === sockets.length, 'the end of all connections', 60_000)
    assert.equal((await metricsOf(server)).get('fws_refused_total{status="408"}'), 10_000)
    await recovered(server, before)
  })
})

describe('a flood', () => {
  it('of 100,000 pings ends the connection', async t => {
    const server = await start(t, ['echo'])
    const peer = await RawPeer.open(server.url)
    peer.send(...Array(100_000).fill(frame(PING, 'p')))
    assert.equal(await peer.end(), 1008)
    await servesOthers(server)
  })

  it('of 100,000 pings without reading the pongs, and without a limit, keeps memory bounded', async t => {
    const server = await start(t, ['echo'], ['--max-control', '0'])
    await servesOthers(server)
    const before = await resourcesOf(server)
    const peer = await RawPeer.open(server.url)
    peer.socket.pause()
    const pings = Buffer.concat(Array(50).fill(frame(PING, Buffer.alloc(125))))
    for (let i = 0; i < 2000; i++) await new Promise(resolve => peer.socket.write(pings, resolve))
    peer.send(frame(TEXT, 'last'))
    await until(async () => (await metricsOf(server)).get('fws_messages_received_total') === 2, 'the last message')
    const { rss } = await resourcesOf(server)
    assert.ok(rss - before.rss < BOUNDED, `${rss - before.rss} bytes more`)
    peer.socket.destroy()
    await servesOthers(server)
    await recovered(server, before)
  })

  it('of 100,000 Close frames is answered with one', async t => {
    const server = await start(t, ['echo'])
    const peer = await RawPeer.open(server.url)
    peer.send(...Array(100_000).fill(closeFrame(1000)))
    assert.equal(await peer.end(), 1000)
    assert.deepEqual(
      peer.frames.map(({ opcode }) => opcode),
      [CLOSE],
    )
    assert.deepEqual(logLines(server, 'bad frame'), [])
    await servesOthers(server)
  })

  it('of fragments of one byte, each in a read of its own, keeps memory bounded', async t => {
    const server = await start(t, ['echo'])
    await servesOthers(server)
    const before = await resourcesOf(server)
    const peers = await Promise.all(Array.from({ length: 20 }, () => RawPeer.open(server.url)))
    for (const peer of peers) peer.send(frame(TEXT, 'x', { fin: false }))
    for (let i = 0; i < 2000; i++)
      await Promise.all(
        peers.map(
          ({ socket }) => new Promise(resolve => socket.write(frame(CONTINUATION, 'x', { fin: false }), resolve)),
        ),
      )
    await Promise.all(peers.map(peer => peer.roundTrip()))
    const { rss } = await resourcesOf(server)
    assert.ok(rss - before.rss < BOUNDED / 4, `${rss - before.rss} bytes more`)
    for (const peer of peers) peer.socket.destroy()
    await recovered(server, before)
  })

  it('of header bytes gets one 431, and one line in the log', async t => {
    const server = await start(t, ['echo'])
    const { socket, answer } = await raw(server.url, handshakeWith(server, `X: ${'x'.repeat(MIB)}\r\n`))
    assert.match(await answer(), /^HTTP\/1\.1 431 (?:(?!HTTP\/1\.1).)*$/s)
    socket.destroy()
    await becomes(() => logLines(server, 'bad request'), [[431, 'HPE_HEADER_OVERFLOW']])
    assert.equal((await metricsOf(server)).get('fws_refused_total{status="431"}'), 1)
  })

  it('of broadcasts to clients that never read closes each with 1013', async t => {
    const server = await start(t, ['broadcast'], ['--max-buffered', '100000'])
    const before = await resourcesOf(server)
    const stuck = await Promise.all(Array.from({ length: 20 }, () => RawPeer.open(server.url)))
    for (const { socket } of stuck) socket.pause()
    const loud = await Peer.open(server.url)
    const closes = async () => logLines(server, 'client too slow, closing it').length
    const text = 'x'.repeat(50_000)
    await until(async () => {
      for (let i = 0; i < 20; i++) loud.send(text)
      return (await closes()) === stuck.length
    }, 'the end of those that do not read')
    for (const peer of stuck) peer.socket.resume()
    for (const peer of stuck) assert.equal(await peer.echoClose(), 1013)
    loud.ws.terminate()
    await recovered(server, before)
  })
})

describe('a decompression bomb', () => {
  const OFFER = { 'Sec-WebSocket-Extensions': 'permessage-deflate' }
  /** 1 MiB that inflates to 1 GiB; and 1 KiB that inflates to 1 MiB and a byte. */
  const GREAT = Buffer.concat(Array(16).fill(deflateRawSync(Buffer.alloc(64 * MIB), { finishFlush: 2 })))
  const SMALL = deflateRawSync(Buffer.alloc(MIB + 1), { finishFlush: 2 })

  for (const [what, bytes] of [
    ['of 1 GiB', [frame(BINARY, GREAT, { rsv: 4 })]],
    [
      'of 1 GiB in fragments',
      [frame(BINARY, GREAT.subarray(0, 500_000), { rsv: 4, fin: false }), frame(CONTINUATION, GREAT.subarray(500_000))],
    ],
    ['that is small', [frame(BINARY, SMALL, { rsv: 4 })]],
    ['within a bomb is unfolded once', [frame(BINARY, deflateRawSync(SMALL, { finishFlush: 2 }), { rsv: 4 })]],
  ] as const) {
    const once = what.startsWith('within')
    it(`${what}${once ? '' : ' closes 1009'}, in bounded memory`, async t => {
      const server = await start(t, ['echo'], ['--compress'])
      await servesOthers(server)
      const before = await resourcesOf(server)
      const peers = await Promise.all(Array.from({ length: 50 }, () => RawPeer.open(server.url, OFFER)))
      for (const peer of peers) peer.send(...bytes)
      if (once) for (const peer of peers) assert.equal((await peer.get(1))[0]!.opcode, BINARY)
      else for (const peer of peers) assert.equal(await peer.end(), 1009)
      const { rss } = await resourcesOf(server)
      assert.ok(rss - before.rss < BOUNDED, `${rss - before.rss} bytes more`)
      const log = once ? [] : Array(50).fill([undefined, 1009])
      await becomes(() => logLines(server, 'bad frame'), log)
      await servesOthers(server)
      for (const peer of peers) peer.socket.destroy()
      await recovered(server, before)
    })
  }
})
