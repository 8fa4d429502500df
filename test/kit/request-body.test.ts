import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { DROP, type FilterModule, type ServerOptions } from '../../src/index.ts'
import { closeUnreadBodies, hasBody, readBody, respond } from '../../src/kit/index.ts'
import { selfSignedFiles } from '../support/certificates.ts'
import { folder } from '../support/cli.ts'
import { handshake } from '../support/frames.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'

/** Milliseconds in which a connection must end: 2 s after its response, and more on a loaded machine. Node alone would end it after 300 s. */
const SOON = 60_000
/** More than the kernel buffers for a peer that does not read. */
const LARGE = Buffer.alloc(24_000_000, 'x')
const BEHIND = 'GET /behind HTTP/1.1\r\nHost: localhost\r\n\r\n'

const post = (fields: string, start = 'POST / HTTP/1.1') => `${start}\r\nHost: localhost\r\n${fields}\r\n`
const DRIPPING = post('Content-Length: 100000\r\n')

type Request = (req: IncomingMessage, res: ServerResponse) => unknown

/** A filter that records the targets that it handles. */
function recording(request: Request): { filter: FilterModule; handled: string[] } {
  const handled: string[] = []
  const filter: FilterModule = {
    request: (req, res) => {
      handled.push(req.url!)
      return request(req, res) as undefined
    },
  }
  return { filter, handled }
}

/** A peer that sends some bytes, then more every 50 ms, and never closes. */
class Dripping {
  readonly socket: Socket
  text = ''
  isEnded = false
  hasFin = false
  #drip: NodeJS.Timeout | undefined

  constructor(socket: Socket, t: TestContext) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', chunk => {
      this.text += chunk.toString('latin1')
    })
    socket.on('end', () => {
      this.hasFin = true
      // Only a write shows that the server has closed the connection.
      this.drip('x')
    })
    socket.once('close', () => {
      clearInterval(this.#drip)
      this.isEnded = true
    })
    t.after(() => void socket.destroy())
  }

  drip(bytes: string): void {
    clearInterval(this.#drip)
    this.#drip = setInterval(() => this.socket.writable && this.socket.write(bytes), 50)
  }

  static async to(t: TestContext, url: string, bytes: string | Buffer, drip = 'x'): Promise<Dripping> {
    const { hostname, port, protocol } = new URL(url)
    const to = { host: hostname, port: Number(port), allowHalfOpen: true }
    const socket = protocol === 'wss:' ? connectTls({ ...to, rejectUnauthorized: false }) : connect(to)
    const peer = new Dripping(socket, t)
    await once(socket, protocol === 'wss:' ? 'secureConnect' : 'connect')
    socket.write(bytes)
    if (drip !== '') peer.drip(drip)
    return peer
  }

  /** The response, complete when the server has ended the connection. */
  async answer(): Promise<string> {
    await until(() => this.isEnded, `the end, got ${JSON.stringify(this.text.slice(0, 500))}`, SOON)
    return this.text
  }
}

const BODIES: readonly (readonly [string, string | Buffer, string])[] = [
  ['a body that drips', DRIPPING, 'x'],
  ['a body of 1 PB that does not come', post('Content-Length: 1000000000000000\r\n'), ''],
  ['a body of GET', post('Content-Length: 5\r\n', 'GET / HTTP/1.1'), ''],
  ['a body of HEAD', post('Content-Length: 5\r\n', 'HEAD / HTTP/1.1'), ''],
  ['a body of DELETE', post('Content-Length: 5\r\n', 'DELETE / HTTP/1.1'), 'x'],
  ['a body of OPTIONS', post('Content-Length: 5\r\n', 'OPTIONS * HTTP/1.1'), ''],
  ['a body that is complete', `${post('Content-Length: 5\r\n')}hello`, ''],
  ['a length of 00', post('Content-Length: 00\r\n'), ''],
  [
    'a body that asks to be kept alive',
    post('Content-Length: 9\r\nConnection: keep-alive\r\n', 'POST / HTTP/1.0'),
    'x',
  ],
  ['chunks that drip', `${post('Transfer-Encoding: chunked\r\n')}`, '1\r\nx\r\n'],
  ['a chunk that drips', `${post('Transfer-Encoding: chunked\r\n')}ffffff\r\n`, 'x'],
  ['a chunk size that drips', post('Transfer-Encoding: chunked\r\n'), '0'],
  ['a chunk extension that does not end', `${post('Transfer-Encoding: chunked\r\n')}1`, ';a=b'],
  ['trailers that drip', `${post('Transfer-Encoding: chunked\r\nTrailer: X\r\n')}0\r\n`, 'X: y\r\n'],
  ['chunks that are none', `${post('Transfer-Encoding: chunked\r\n')}zz\r\n`, 'x'],
  ['an expectation, and then nothing', post('Expect: 100-continue\r\nContent-Length: 5\r\n'), ''],
  ['an expectation without a body', post('Expect: 100-continue\r\n', 'GET / HTTP/1.1'), ''],
  ['an unknown expectation', post('Expect: 200-maybe\r\nContent-Length: 5\r\n'), 'x'],
  [
    'an upload of 1 MB',
    Buffer.concat([Buffer.from(post('Content-Length: 90000000\r\n')), LARGE.subarray(0, 1e6)]),
    'x',
  ],
]

describe('a connection whose request has a body', { concurrency: 8 }, () => {
  for (const [where, more] of [
    ['', async () => ({})],
    [', behind a data filter', async () => ({ data: () => {} })],
    [', over TLS', async (t: TestContext) => ({ tls: (await selfSignedFiles(t)).files })],
  ] as const) {
    it(`closes after the response, however the body arrives${where}`, async t => {
      const { tls, ...data } = (await more(t)) as { tls?: object; data?: () => void }
      const { filter, handled } = recording((_, res) => void res.end('answer'))
      const server = await serve(t, { filters: [filter, data], ...tls } as ServerOptions)
      const peers = await Promise.all(
        BODIES.map(async ([what, bytes, drip]) => [what, await Dripping.to(t, server.url, bytes, drip)] as const),
      )
      for (const [what, peer] of peers) {
        const text = await peer.answer()
        const isKnown = what !== 'an unknown expectation' && what !== 'chunks that are none'
        assert.match(text, isKnown ? /^(?:HTTP\/1.1 100 Continue\r\n\r\n)?HTTP\/1\.1 200 / : /^(?:HTTP\/1\.1 |$)/, what)
        if (isKnown) assert.match(text, /^Connection: close\r$/m, what)
        if (what === 'an unknown expectation')
          assert.match(text, /^HTTP\/1\.1 417 .*only 100-continue can be expected\n/s)
        assert.equal(peer.hasFin, true, `${what}: no reset before the end of the answer`)
      }
      assert.ok(handled.every(target => target === '/' || target === '*'))
      // Another peer is served.
      await Peer.open(server.url, { rejectUnauthorized: false })
    })
  }

  for (const [what, request, expected = /answer/] of [
    ['with a header that keeps it alive', (_, res) => res.writeHead(200, { Connection: 'keep-alive' }).end('answer')],
    ['with that header as a list', (_, res) => res.writeHead(200, ['connection', 'Keep-Alive']).end('answer')],
    ['with that header set before', (_, res) => res.setHeader('Connection', 'keep-alive').end('answer')],
    [
      'without the header',
      (_, res) => {
        res.removeHeader('Connection')
        res.end('answer')
      },
    ],
    ['with a length', (_, res) => res.writeHead(200, { 'Content-Length': 6 }).end('answer')],
    [
      'that says to keep it alive',
      (_, res) => {
        res.shouldKeepAlive = true
        res.end('answer')
      },
    ],
    ['with 204', (_, res) => res.writeHead(204).end(), /^HTTP\/1\.1 204 /],
    ['with 304', (_, res) => res.writeHead(304).end(), /^HTTP\/1\.1 304 /],
    ['with 404', (_, res) => res.writeHead(404).end('answer')],
    ['with 413', (_, res) => res.writeHead(413, { Connection: 'keep-alive' }).end('answer')],
    [
      'after an await',
      async (_, res) => {
        await turn()
        res.end('answer')
        return DROP
      },
    ],
    [
      'in parts',
      async (_, res) => {
        res.write('ans')
        await turn()
        res.end('wer')
        return DROP
      },
      /ans.*wer/s,
    ],
    [
      'from a stream',
      (_, res) => {
        const stream = new PassThrough()
        stream.pipe(res)
        stream.end('answer')
        return DROP
      },
    ],
    [
      'after a part of the body',
      async (req, res) => {
        await once(req, 'data')
        req.pause()
        res.end('answer')
        return DROP
      },
    ],
    [
      'after a part of the body that it goes on reading',
      async (req, res) => {
        await once(req, 'readable')
        res.writeHead(200, { Connection: 'keep-alive' }).end('answer')
        return DROP
      },
    ],
    ['not at all, so that the server does', () => undefined, /^HTTP\/1\.1 426 .*Connection: close, Upgrade\r\n/s],
    [
      'with an error',
      () => {
        throw new Error('no')
      },
      /^HTTP\/1\.1 500 .*internal error/s,
    ],
  ] as readonly (readonly [string, Request, RegExp?])[]) {
    it(`closes when its filter answers ${what}, and bytes after the body are not handled`, async t => {
      const { filter, handled } = recording(request)
      const server = await serve(t, { filters: [filter] })
      const dripping = await Dripping.to(t, server.url, DRIPPING)
      const pipelined = await Dripping.to(t, server.url, `${post('Content-Length: 5\r\n')}hello${BEHIND}`, BEHIND)
      for (const peer of [dripping, pipelined]) {
        const text = await peer.answer()
        assert.match(text, expected)
        assert.equal(text.match(/^HTTP\/1\.1 /gm)?.length, 1)
        assert.equal(peer.hasFin, true)
      }
      assert.deepEqual(handled, ['/', '/'])
    })
  }

  it('closes after every response of pages', async t => {
    const root = folder(t, { 'index.html': 'page', 'large.bin': String(LARGE) })
    const server = await serve(t, { filters: ['pages'], pagesRoot: root })
    const peers = [
      ['GET / HTTP/1.1', /^HTTP\/1\.1 200 .*page$/s],
      ['HEAD / HTTP/1.1', /^HTTP\/1\.1 200 /],
      ['POST / HTTP/1.1', /^HTTP\/1\.1 405 /],
      ['GET /none HTTP/1.1', /^HTTP\/1\.1 404 /],
      ['GET /%zz HTTP/1.1', /^HTTP\/1\.1 400 /],
      ['GET /large.bin HTTP/1.1', /^HTTP\/1\.1 200 /, LARGE.length],
    ] as const
    const answers = peers.map(async ([start, expected, size = 0]) => {
      const peer = await Dripping.to(t, server.url, post('Content-Length: 100000\r\n', start))
      return [await peer.answer(), expected, size] as const
    })
    for (const [text, expected, size] of await Promise.all(answers))
      assert.ok(expected.test(text) && text.length > size, text.slice(0, 300))
  })

  it('delivers a response larger than its buffers, to fast and slow readers', async t => {
    const server = await serve(t, { filters: [{ request: (_, res) => void res.end(LARGE) }] })
    const peer = await Dripping.to(t, server.url, DRIPPING)
    const slow = await Dripping.to(t, server.url, DRIPPING)
    const pausing = setInterval(() => {
      if (slow.socket.isPaused()) slow.socket.resume()
      else slow.socket.pause()
    }, 20)
    t.after(() => clearInterval(pausing))
    for (const { length } of [await peer.answer(), await slow.answer()]) assert.ok(length > LARGE.length, `${length}`)
  })

  it('closes even if the peer does not read a response of any size', async t => {
    const server = await serve(t, {
      filters: [{ request: (req, res) => void res.end(req.url === '/large' ? LARGE : 'answer') }],
    })
    const { resolve, promise } = deferred()
    let open = 2
    for (const target of ['/', '/large']) {
      const peer = await Dripping.to(t, server.url, DRIPPING.replace('/', target))
      peer.socket.pause()
      // A paused socket notices the end only by a failed write.
      peer.socket.on('error', () => --open === 0 && resolve())
    }
    await Promise.race([promise, deadline(SOON, 'the ends')])
  })

  it('stays open when its filter has read the whole body', async t => {
    const { filter, handled } = recording(async (req, res) => {
      let size = 0
      for await (const chunk of req) size += chunk.length
      res.end(`read ${size}`)
      return DROP
    })
    const server = await serve(t, { filters: [filter] })
    const peer = await Dripping.to(t, server.url, `${post('Content-Length: 5\r\n')}hello`, '')
    for (let answered = 1; answered <= 20; answered++) {
      await until(() => peer.text.match(/read 5/g)?.length === answered)
      peer.socket.write(`${post('Content-Length: 5\r\n')}he`)
      await turn()
      peer.socket.write('llo')
    }
    await until(() => peer.text.match(/read 5/g)?.length === 21)
    assert.match(peer.text, /^Connection: keep-alive\r$/m)
    assert.doesNotMatch(peer.text, /^Connection: close\r$/m)
    peer.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    assert.match(await peer.answer(), /read 0/)
    assert.equal(handled.length, 22)
  })

  it('is not reused for a request after the body if its filter reads the body', async t => {
    const { filter, handled } = recording(async (req, res) => {
      await req.resume().toArray()
      res.end('answer')
      return DROP
    })
    const server = await serve(t, { filters: [filter] })
    const peer = await Dripping.to(t, server.url, `${post('Content-Length: 5\r\n')}hello${BEHIND}`, '')
    assert.match(await peer.answer(), /^HTTP\/1\.1 200 .*^Connection: close\r$/ms)
    assert.deepEqual(handled, ['/'])
  })

  it('of an upload delivers a response before its end, even if the peer keeps sending', async t => {
    const request: Request = (_, res) => void res.writeHead(413).end('too large')
    const server = await serve(t, { filters: [recording(request).filter] })
    const peer = await Dripping.to(t, server.url, post('Content-Length: 900000000\r\n'), '')
    const send = () => {
      while (peer.socket.writable && peer.socket.write(LARGE.subarray(0, 65_536))) {}
    }
    peer.socket.on('drain', send)
    send()
    assert.match(await peer.answer(), /^HTTP\/1\.1 413 .*too large/s)
  })

  it('closes after a handshake with a body too, without losing the response', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const bodies = [
      { 'Content-Length': '5' },
      { 'Content-Length': '00' },
      { 'Transfer-Encoding': 'chunked' },
      { Expect: '100-continue' },
      { 'Content-Length': '99999999', Expect: '100-continue' },
    ]
    const peers = bodies.map(fields => Dripping.to(t, server.url, handshake(server.url, fields)))
    for (const peer of await Promise.all(peers)) {
      assert.match(await peer.answer(), /^HTTP\/1\.1 400 .*a WebSocket handshake has no body\n$/s)
      assert.equal(peer.hasFin, true)
    }
  })

  it('closes 1,000 at once', async t => {
    const server = await serve(t, { filters: ['echo'] })
    const peers: Dripping[] = []
    while (peers.length < 1000)
      peers.push(...(await Promise.all(Array.from({ length: 100 }, () => Dripping.to(t, server.url, DRIPPING)))))
    for (const peer of peers) assert.match(await peer.answer(), /^HTTP\/1\.1 426 /)
  })
})

describe('a connection behind a data filter', () => {
  it('closes after its last response even if the peer keeps sending', async t => {
    const { filter, handled } = recording((_, res) => void res.end('answer'))
    const server = await serve(t, { filters: [filter, { data: () => {} }] })
    for (const drip of ['x', BEHIND, 'GET / HTTP/1.1\r\nHost: local']) {
      const peer = await Dripping.to(
        t,
        server.url,
        'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
        drip,
      )
      assert.match(await peer.answer(), /^HTTP\/1\.1 200 .*answer/s)
    }
    assert.deepEqual(handled, ['/', '/', '/'])
  })
})

describe('closeUnreadBodies', () => {
  it('works for other servers too', async t => {
    const http = createServer(closeUnreadBodies((req, res) => void res.end(`${hasBody(req)}`)))
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    t.after(() => void http.close().closeAllConnections())
    const { port } = http.address() as { port: number }
    const peer = await Dripping.to(t, `ws://127.0.0.1:${port}`, DRIPPING)
    assert.match(await peer.answer(), /^HTTP\/1\.1 200 .*true/s)
    const without = await Dripping.to(t, `ws://127.0.0.1:${port}`, `${BEHIND}${post('Content-Length: 0\r\n')}`, '')
    await until(() => without.text.match(/false/g)?.length === 2)
    assert.doesNotMatch(without.text, /^Connection: close\r$/m)
  })
})

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}

function deadline(ms: number, what: string): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms).unref())
}

describe('readBody', () => {
  const body = 'x'.repeat(10)
  for (const [what, text, answer] of [
    ['a body of a known length', `${post('Content-Length: 10\r\n')}${body}`, /200 OK.*\n10\r/s],
    [
      'one in chunks',
      `${post('Transfer-Encoding: chunked\r\n')}5\r\nxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n`,
      /200 OK.*\n10\r/s,
    ],
    ['no body', post(''), /200 OK.*\r\n1\r\n0\r/s],
    ['a length beyond the bound', `${post('Content-Length: 11\r\n')}x`, /413 .*too large/s],
    ['chunks beyond the bound', `${post('Transfer-Encoding: chunked\r\n')}b\r\n${body}x\r\n`, /413 .*too large/s],
  ] as const) {
    it(`reads ${what}`, async t => {
      const { filter } = recording(async (req, res) => {
        const read = await readBody(req, 10)
        if (read === undefined) respond(res, 413, 'too large')
        else res.writeHead(200, { Connection: 'close' }).end(`${read.length}`)
        return DROP
      })
      const { url } = await serve(t, { filters: [filter] })
      assert.match(await (await raw(url, text)).answer(), answer)
    })
  }
})
