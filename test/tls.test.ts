import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls'
import { generate } from 'selfsigned'
import { createServer } from '../src/index.ts'
import { Peer, refusedWith, serve, until } from './kit/peer.ts'

/** Key and certificate in files of their own, and how to put another name's in their place. */
async function certificate(t: TestContext, name = 'first') {
  const folder = await mkdtemp(join(tmpdir(), 'fws-'))
  t.after(() => rm(folder, { recursive: true }))
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
  const renew = async (commonName: string) => {
    const pems = await generate([{ name: 'commonName', value: commonName }])
    await Promise.all([writeFile(key, pems.private), writeFile(cert, pems.cert)])
    return pems
  }
  return { files: { key, cert }, pems: await renew(name), renew }
}

/** A finished TLS handshake, or the error that ended it. */
async function tlsTo(url: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port: Number(new URL(url).port), rejectUnauthorized: false, ...options })
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

async function servedName(url: string): Promise<unknown> {
  const socket = await tlsTo(url)
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}

const TLS_1_1 = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const

describe('--key and --cert', () => {
  it('make a server that wss clients talk through', async t => {
    const { files, pems } = await certificate(t, 'localhost')
    const server = await serve(t, { filters: ['broadcast'], ...files })
    assert.match(server.url, /^wss:\/\/127\.0\.0\.1:\d+$/)
    const trusting = { ca: pems.cert, servername: 'localhost' }
    const [one, two] = [await Peer.open(server.url, trusting), await Peer.open(server.url, trusting)]
    one.send('hello')
    assert.deepEqual(await two.get(1), ['hello'])
  })

  it('answer plain HTTP requests over TLS', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [{ request: (_, res) => void res.end('secret') }], ...files })
    const socket = await tlsTo(server.url)
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    socket.write('GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
    await once(socket, 'close')
    assert.match(text, /^HTTP\/1\.1 200 .*secret$/s)
  })

  it('know their own origin as https', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [], ...files })
    const { host } = new URL(server.url)
    const refused = await Promise.all(
      [`https://${host}`, 'https://evil.example'].map(origin =>
        refusedWith(server.url, { origin, rejectUnauthorized: false }),
      ),
    )
    assert.deepEqual(refused, [101, 403])
  })

  it("are seen in the handshake's URL: it is wss", async t => {
    const { files } = await certificate(t)
    const urls: string[] = []
    const server = await serve(t, {
      filters: [{ connect: client => void urls.push(client.handshake!.url.href) }],
      ...files,
    })
    await Peer.open(`${server.url}/a`, { rejectUnauthorized: false })
    assert.deepEqual(urls, [`${server.url}/a`])
  })

  it('send large messages whole', async t => {
    const { files } = await certificate(t)
    const SIZE = 5 * 1024 * 1024
    const server = await serve(t, { filters: ['echo'], maxPayload: SIZE, ...files })
    const peer = await Peer.open(server.url, { rejectUnauthorized: false, maxPayload: SIZE })
    const big = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7919) % 251))
    peer.send(big)
    assert.ok(big.equals((await peer.get(1))[0] as Buffer))
  })

  it('accept TLS 1.2 and 1.3', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [], ...files })
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await tlsTo(server.url, { minVersion: version, maxVersion: version })
      assert.equal(socket.getProtocol(), version)
      socket.destroy()
    }
  })

  it('refuse TLS 1.1, also after a reload', async t => {
    const { files, pems, renew } = await certificate(t)
    // Such a client can be served, by a server that wants to.
    const lax = createTlsServer({ key: pems.private, cert: pems.cert, ...TLS_1_1 }).listen(0)
    t.after(() => lax.close())
    await once(lax, 'listening')
    const old = await tlsTo(`wss://localhost:${(lax.address() as { port: number }).port}`, TLS_1_1)
    assert.equal(old.getProtocol(), 'TLSv1.1')
    old.destroy()

    const server = await serve(t, { filters: [], ...files })
    const tooOld = { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' }
    await assert.rejects(tlsTo(server.url, TLS_1_1), tooOld)
    await renew('second')
    server.reload()
    await assert.rejects(tlsTo(server.url, TLS_1_1), tooOld)
  })

  it('survive peers that speak no TLS', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: ['echo'], ...files })
    const port = Number(new URL(server.url).port)
    const plain = connect(port, '127.0.0.1')
    plain.on('error', () => {})
    plain.resume().write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(plain, 'close')
    const reset = connect(port, '127.0.0.1')
    reset.on('error', () => {})
    await once(reset, 'connect')
    reset.resetAndDestroy()
    const peer = await Peer.open(server.url, { rejectUnauthorized: false })
    peer.send('still here')
    assert.deepEqual(await peer.get(1), ['still here'])
  })

  it('cut a peer that never finishes its TLS handshake after handshake-timeout', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2, ...files })
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    t.after(() => void socket.destroy())
    socket.on('error', () => {})
    socket.resume()
    await until(() => socket.closed, 'the end of the connection', 2000)
  })

  it('leave no peer behind at close() that has not finished its TLS handshake', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [], ...files })
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    t.after(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket.resume(), 'connect')
    // By then the server has the other connection too.
    await Peer.open(server.url, { rejectUnauthorized: false })
    await server.close()
    await until(() => socket.closed, 'the end of the connection', 1000)
  })

  it('cut a peer that never finishes its request headers after handshake-timeout', async t => {
    const { files } = await certificate(t)
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2, ...files })
    const socket = await tlsTo(server.url)
    t.after(() => void socket.destroy())
    socket.resume().write('GET / HTTP/1.1\r\n')
    await until(() => socket.closed, 'the end of the connection', 2000)
  })
})

describe('reload()', () => {
  it('serves the new certificate to new connections; open clients stay and talk on', async t => {
    const { files, renew } = await certificate(t, 'first')
    const server = await serve(t, { filters: ['broadcast'], ...files })
    assert.equal(await servedName(server.url), 'first')
    const old = await Peer.open(server.url, { rejectUnauthorized: false })
    await renew('second')
    assert.equal(await servedName(server.url), 'first')
    server.reload()
    assert.equal(await servedName(server.url), 'second')
    const young = await Peer.open(server.url, { rejectUnauthorized: false })
    old.send('from the old')
    assert.deepEqual(await young.get(1), ['from the old'])
    young.send('from the new')
    assert.deepEqual(await old.get(1), ['from the new'])
    assert.equal(server.counters.closed, 0)
  })

  it('may come again and again', async t => {
    const { files, renew } = await certificate(t, 'first')
    const server = await serve(t, { filters: [], ...files })
    for (const name of ['second', 'third']) {
      await renew(name)
      server.reload()
      assert.equal(await servedName(server.url), name)
    }
  })

  for (const [what, spoil] of [
    ['a broken certificate', (cert: string) => writeFile(cert, 'no certificate')],
    ['a missing certificate', (cert: string) => rm(cert)],
    [
      'a certificate of another key',
      async (cert: string) => writeFile(cert, (await generate([{ name: 'commonName', value: 'other' }])).cert),
    ],
  ] as const) {
    it(`with ${what} throws and keeps the old one, until the files are good again`, async t => {
      const { files, renew } = await certificate(t, 'first')
      const server = await serve(t, { filters: ['echo'], ...files })
      const peer = await Peer.open(server.url, { rejectUnauthorized: false })
      await spoil(files.cert)
      assert.throws(
        () => server.reload(),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'ERR_OPTION')
          assert.ok(error.message.startsWith(`--key ${files.key} and --cert ${files.cert} cannot be used: `))
          return true
        },
      )
      assert.equal(await servedName(server.url), 'first')
      peer.send('still here')
      assert.deepEqual(await peer.get(1), ['still here'])
      await renew('second')
      server.reload()
      assert.equal(await servedName(server.url), 'second')
    })
  }

  it('does nothing to a server without TLS', async t => {
    const server = await serve(t, { filters: ['echo'] })
    server.reload()
    const peer = await Peer.open(server.url)
    peer.send('hello')
    assert.deepEqual(await peer.get(1), ['hello'])
  })
})

describe('a start with a certificate that cannot be used', () => {
  for (const [what, broken] of [
    ['a missing key', { key: '/nowhere/key.pem' }],
    ['a missing certificate', { cert: '/nowhere/cert.pem' }],
    ['a key that is none', { key: import.meta.filename }],
  ] as const) {
    it(`is refused with a clear error: ${what}`, async t => {
      const { files } = await certificate(t)
      const asked = { ...files, ...broken }
      const started: string[] = []
      await assert.rejects(
        createServer({
          port: 0,
          logLevel: 'silent',
          filters: [{ start: () => void started.push('filter') }],
          ...asked,
        }),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'ERR_OPTION')
          assert.ok(error.message.startsWith(`--key ${asked.key} and --cert ${asked.cert} cannot be used: `))
          if (what !== 'a key that is none') assert.match(error.message, /ENOENT: no such file or directory/)
          return true
        },
      )
      assert.deepEqual(started, [])
    })
  }
})
