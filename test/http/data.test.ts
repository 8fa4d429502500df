import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { type Peer as DataPeer, DROP, type Payload } from '../../src/index.ts'
import { selfSignedFiles } from '../support/certificates.ts'
import { ask, frame, handshake, RawPeer, TEXT } from '../support/frames.ts'
import { Peer, raw, serve, until } from '../support/peer.ts'

/** A data filter that records its chunks. */
function tape() {
  const chunks: Buffer[] = []
  const peers: DataPeer[] = []
  return {
    chunks,
    peers,
    data: (chunk: Buffer, peer: DataPeer): void => {
      chunks.push(Buffer.from(chunk))
      peers.push(peer)
    },
  }
}

describe('a data filter', () => {
  it('sees a connection that is not HTTP from its first byte', async t => {
    const { data, chunks, peers } = tape()
    const server = await serve(t, { filters: [{ data }] })
    const { answer } = await raw(server.url, 'Morgan\n')
    assert.match(await answer(), /^HTTP\/1\.1 400 /)
    assert.deepEqual(Buffer.concat(chunks), Buffer.from('Morgan\n'))
    assert.match(peers[0]!.id, /^[0-9a-f-]{36}$/)
  })

  it('has the address of the peer', async t => {
    const remotes: string[] = []
    const server = await serve(t, { filters: [{ data: (_, peer) => void remotes.push(peer.remote) }] })
    const { answer } = await raw(server.url, 'Morgan\n')
    await answer()
    assert.deepEqual(remotes, ['127.0.0.1'])
  })

  it('has the address of a peer that has disconnected', async t => {
    const { data, peers } = tape()
    const server = await serve(t, { filters: [{ data }] })
    const { answer } = await raw(server.url, 'Morgan\n')
    await answer()
    assert.equal(peers[0]!.remote, '127.0.0.1')
  })

  it('sees bytes of all values unchanged', async t => {
    const { data, chunks } = tape()
    const server = await serve(t, { filters: [{ data }, { data: () => DROP }], drain: 0 })
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 256))
    const { socket } = await raw(server.url, bytes)
    await until(() => Buffer.concat(chunks).length === bytes.length)
    assert.ok(Buffer.concat(chunks).equals(bytes))
    socket.destroy()
  })

  it('sees the peer that closes right after its bytes, as nc does', async t => {
    const { data, chunks } = tape()
    const server = await serve(t, { filters: [{ data }] })
    const { socket, answer } = await raw(server.url, '')
    socket.end('Morgan\n')
    await answer()
    assert.deepEqual(chunks, [Buffer.from('Morgan\n')])
  })

  it('sees the handshake, then the frames, of a WebSocket client', async t => {
    const { data, chunks } = tape()
    const server = await serve(t, { filters: [{ data }, 'echo'], drain: 0 })
    const peer = await RawPeer.open(server.url)
    peer.send(frame(TEXT, 'hello'))
    await peer.get(1)
    assert.deepEqual(chunks, [Buffer.from(handshake(server.url)), frame(TEXT, 'hello')])
  })

  it('sees TLS connections after decryption', async t => {
    const { data, chunks } = tape()
    const server = await serve(t, { filters: [{ data }], ...(await selfSignedFiles(t)).files })
    const socket = connectTls({ port: Number(new URL(server.url).port), rejectUnauthorized: false })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    socket.resume().write('Morgan\n')
    await once(socket, 'close')
    assert.deepEqual(chunks, [Buffer.from('Morgan\n')])
  })

  it('rewrites: what it returns is what HTTP, WebSocket and later data filters see', async t => {
    const { data, chunks } = tape()
    const paths: string[] = []
    const server = await serve(t, {
      filters: [
        {
          data: chunk => (chunk.includes('GET /old ') ? Buffer.from(String(chunk).replace('/old', '/new')) : undefined),
        },
        { data },
        { connect: client => void paths.push(client.handshake!.url.pathname) },
      ],
    })
    await Peer.open(`${server.url}/old`)
    assert.deepEqual(paths, ['/new'])
    assert.match(String(chunks[0]), /^GET \/new /)
  })

  it('drops: the chunk is not parsed, and the next one follows', async t => {
    const { data, chunks } = tape()
    let dropped = 0
    const server = await serve(t, {
      filters: [
        {
          data: chunk => {
            if (!chunk.includes('junk')) return undefined
            dropped++
            return DROP
          },
        },
        { data },
      ],
    })
    const { socket, answer } = await raw(server.url, 'junk')
    await until(() => dropped === 1)
    const request = 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n'
    socket.write(request)
    assert.match(await answer(), /^HTTP\/1\.1 426 /)
    assert.deepEqual(chunks.map(String), [request])
    assert.equal(server.counters.errors, 0)
  })

  it('that drops all chunks leaves the peer to the deadline for headers', async t => {
    const server = await serve(t, { filters: [{ data: () => DROP }], handshakeTimeout: 0.2 })
    assert.equal((await ask(server.url, handshake(server.url))).status, 408)
    assert.equal(server.counters.opened, 0)
  })

  it('that is async keeps the order of chunks, however long each takes', async t => {
    const COUNT = 40
    const releases: (() => void)[] = []
    const order: string[] = []
    const server = await serve(t, {
      filters: [
        {
          data: async chunk => {
            // Earlier chunks take longer.
            for (let i = releases.push(() => {}); i < COUNT; i++) await turn()
            order.push(String(chunk))
          },
        },
        { data: () => DROP },
      ],
      drain: 0,
    })
    const { socket } = await raw(server.url, '')
    const texts = Array.from({ length: COUNT }, (_, i) => `<${i}>`)
    for (const text of texts) {
      await new Promise(resolve => socket.write(text, resolve))
      await turn()
    }
    await until(() => order.join('').length === texts.join('').length)
    assert.equal(order.join(''), texts.join(''))
    socket.destroy()
  })

  it('that is async never has two chunks of one peer at a time', async t => {
    let atWork = 0
    let most = 0
    let bytes = 0
    const server = await serve(t, {
      filters: [
        {
          data: async chunk => {
            most = Math.max(most, ++atWork)
            await turn()
            atWork--
            bytes += chunk.length
            return DROP
          },
        },
      ],
      drain: 0,
    })
    const { socket } = await raw(server.url, Buffer.alloc(2_000_000))
    await until(() => bytes === 2_000_000)
    assert.equal(most, 1)
    socket.destroy()
  })

  it('that is async passes all chunks, also the last before the end', async t => {
    const { data, chunks } = tape()
    const server = await serve(t, { filters: [{ data: () => turn() as Promise<void> }, { data }] })
    const { socket, answer } = await raw(server.url, '')
    socket.end('GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
    assert.match(await answer(), /^HTTP\/1\.1 426 /)
    assert.equal(chunks.length, 1)
  })

  for (const [how, fail] of [
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['returns a string', () => 'text' as never],
    ['never settles', () => new Promise<void>(() => {})],
  ] as const) {
    it(`that ${how} closes that connection only, and is counted`, async t => {
      const server = await serve(t, {
        filters: [{ data: chunk => (chunk.includes('poison') ? fail() : undefined) }, 'echo'],
        filterTimeout: 0.05,
      })
      const peer = await Peer.open(server.url)
      const { answer } = await raw(server.url, 'poison')
      assert.equal(await answer(), '')
      assert.equal(server.counters.errors, 1)
      peer.send('still here')
      assert.deepEqual(await peer.get(1), ['still here'])
    })
  }

  it('that throws on a frame ends that client: its disconnect chain gets 1006', async t => {
    const ends: unknown[] = []
    const server = await serve(t, {
      filters: [
        {
          data: chunk => {
            if (chunk.equals(frame(TEXT, 'poison'))) throw new Error('no')
          },
          disconnect: (_, closed) => void ends.push(closed),
        },
      ],
    })
    const peer = await RawPeer.open(server.url)
    peer.send(frame(TEXT, 'poison'))
    assert.equal(await peer.end(), undefined)
    await until(() => ends.length > 0)
    assert.deepEqual(ends, [{ code: 1006, reason: '', clean: false }])
  })

  it('ends a connection with peer.close(), before anything is parsed', async t => {
    const server = await serve(t, {
      filters: [
        {
          data: (chunk, peer) => {
            if (chunk.includes('/forbidden')) peer.close()
          },
          connect: () => assert.fail('must not be reached'),
        },
      ],
    })
    const { answer } = await raw(server.url, handshake(server.url, {}, 'GET /forbidden HTTP/1.1'))
    assert.equal(await answer(), '')
    assert.deepEqual([server.counters.errors, server.counters.opened], [0, 0])
  })

  it('may end a connection with peer.close() after an await', async t => {
    const server = await serve(t, {
      filters: [
        {
          data: async (_, peer) => {
            await turn()
            peer.close()
          },
        },
      ],
    })
    const { answer } = await raw(server.url, handshake(server.url))
    assert.equal(await answer(), '')
    assert.equal(server.counters.errors, 0)
  })

  it('gives a peer the id of its later client', async t => {
    const { data, peers } = tape()
    const ids: string[] = []
    const server = await serve(t, { filters: [{ data, open: client => void ids.push(client.id) }] })
    await Peer.open(server.url)
    await Peer.open(server.url)
    assert.deepEqual(
      peers.map(peer => peer.id),
      ids,
    )
    assert.notEqual(ids[0], ids[1])
    assert.deepEqual([...server.clients.keys()], ids)
  })

  it('survives a reset while a chunk is in the chain', async t => {
    let release = () => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    t.after(release)
    let isAtWork = false
    let isDone = false
    const server = await serve(t, {
      filters: [
        {
          data: async chunk => {
            if (!chunk.includes('slow')) return
            isAtWork = true
            await released
            isDone = true
          },
        },
        'echo',
      ],
    })
    const { socket } = await raw(server.url, 'slow')
    await until(() => isAtWork)
    socket.resetAndDestroy()
    const peer = await Peer.open(server.url)
    release()
    await until(() => isDone)
    peer.send('still here')
    assert.deepEqual(await peer.get(1), ['still here'])
    assert.equal(server.counters.errors, 0)
  })
})

for (const [name, data] of [
  ['sync', () => {}],
  ['async', async () => {}],
] as const) {
  describe(`behind a data filter that is ${name}`, () => {
    it('large messages pass in both directions', async t => {
      const SIZE = 5 * 1024 * 1024
      const server = await serve(t, { filters: [{ data }, 'echo'], maxPayload: SIZE })
      const peer = await Peer.open(server.url, { maxPayload: SIZE })
      const big = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7919) % 251))
      peer.send(big)
      peer.send('behind')
      const [first, second] = await peer.get(2)
      assert.ok(big.equals(first as Buffer))
      assert.equal(second, 'behind')
    })

    it('large messages pass in both directions over TLS too', async t => {
      const SIZE = 5 * 1024 * 1024
      const server = await serve(t, {
        filters: [{ data }, 'echo'],
        maxPayload: SIZE,
        ...(await selfSignedFiles(t)).files,
      })
      const peer = await Peer.open(server.url, { maxPayload: SIZE, rejectUnauthorized: false })
      const big = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7919) % 251))
      peer.send(big)
      const [first] = await peer.get(1)
      assert.ok(big.equals(first as Buffer))
    })

    it('many small messages keep their order in both directions', async t => {
      const COUNT = 5000
      const seen: Payload[] = []
      const server = await serve(t, {
        filters: [{ data, message: payload => void seen.push(payload) }, 'echo'],
        maxBuffered: 10_000_000,
      })
      const peer = await Peer.open(server.url)
      const texts = Array.from({ length: COUNT }, (_, i) => `${i}`)
      for (const text of texts) peer.send(text)
      assert.deepEqual(await peer.get(COUNT), texts)
      assert.deepEqual(seen, texts)
    })

    it('a closing handshake is clean', async t => {
      const ends: unknown[] = []
      const server = await serve(t, { filters: [{ data, disconnect: (_, closed) => void ends.push(closed) }] })
      const peer = await Peer.open(server.url)
      peer.ws.close(4001, 'bye')
      assert.deepEqual(await peer.end(), { code: 4001, reason: 'bye' })
      await until(() => ends.length > 0)
      assert.deepEqual(ends, [{ code: 4001, reason: 'bye', clean: true }])
    })

    it('HTTP requests are answered, several on one connection', async t => {
      const ports = new Set<number | undefined>()
      const server = await serve(t, {
        filters: [
          {
            data,
            request: async (req, res) => {
              ports.add(req.socket.remotePort)
              let body = ''
              for await (const chunk of req) body += chunk
              res.end(`${req.method} ${req.url} ${body}`)
            },
          },
        ],
      })
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      t.after(() => agent.destroy())
      for (const path of ['/a', '/b', '/c']) {
        const request = httpRequest(`${server.url.replace('ws', 'http')}${path}`, { agent, method: 'POST' })
        request.end('x'.repeat(10))
        const [response] = await once(request, 'response')
        let text = ''
        for await (const chunk of response) text += chunk
        assert.equal(text, `POST ${path} xxxxxxxxxx`)
      }
      assert.equal(ports.size, 1)
    })

    it('requests in one segment are answered in order', async t => {
      const server = await serve(t, { filters: [{ data, request: (req, res) => void res.end(req.url) }] })
      const one = (path: string, connection: string) =>
        `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: ${connection}\r\n\r\n`
      const { answer } = await raw(server.url, one('/a', 'keep-alive') + one('/b', 'close'))
      assert.deepEqual((await answer()).match(/\/[ab]$|\/[ab](?=HTTP)/gm), ['/a', '/b'])
    })

    it('a peer that never finishes its headers is disconnected after handshake-timeout', async t => {
      const server = await serve(t, { filters: [{ data }], handshakeTimeout: 0.2 })
      assert.equal((await ask(server.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n')).status, 408)
    })

    it('a peer that sends nothing is disconnected after handshake-timeout', async t => {
      const server = await serve(t, { filters: [{ data }], handshakeTimeout: 0.2 })
      assert.equal((await ask(server.url, '')).status, 408)
    })

    it('the server closes all connections', async t => {
      const server = await serve(t, { filters: [{ data }], drain: 2 })
      const peer = await Peer.open(server.url)
      const { socket } = await raw(server.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await once(socket, 'data')
      await server.close()
      assert.deepEqual(await peer.end(), { code: 1001, reason: 'server is shutting down' })
      await until(() => socket.closed)
    })
  })
}
