import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { beforeEach, describe, it } from 'node:test'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls'
import { createServer } from '../../src/index.ts'
import { optionError } from '../../src/kit/index.ts'
import { type Pems, selfSigned, selfSignedFiles } from '../support/certificates.ts'
import { launch } from '../support/cli.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { upgradeStatus } from '../support/upgrade.ts'

/** A completed TLS handshake, or the error that ended it. */
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
  it('make a wss server', async t => {
    const { files, pems } = await selfSignedFiles(t, 'localhost')
    const server = await serve(t, { filters: ['broadcast'], ...files })
    assert.match(server.url, /^wss:\/\/127\.0\.0\.1:\d+$/)
    const trusting = { ca: pems.cert, servername: 'localhost' }
    const [one, two] = [await Peer.open(server.url, trusting), await Peer.open(server.url, trusting)]
    one.send('hello')
    assert.deepEqual(await two.get(1), ['hello'])
  })

  it('answer plain HTTP requests over TLS', async t => {
    const { files } = await selfSignedFiles(t)
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

  it('have an https origin', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], ...files })
    const { host } = new URL(server.url)
    const refused = await Promise.all(
      [`https://${host}`, 'https://evil.example'].map(origin =>
        upgradeStatus(server.url, { origin, rejectUnauthorized: false }),
      ),
    )
    assert.deepEqual(refused, [101, 403])
  })

  it('make the URL of the handshake wss', async t => {
    const { files } = await selfSignedFiles(t)
    const urls: string[] = []
    const server = await serve(t, {
      filters: [{ connect: client => void urls.push(client.handshake!.url.href) }],
      ...files,
    })
    await Peer.open(`${server.url}/a`, { rejectUnauthorized: false })
    assert.deepEqual(urls, [`${server.url}/a`])
  })

  it('send large messages completely', async t => {
    const { files } = await selfSignedFiles(t)
    const SIZE = 5 * 1024 * 1024
    const server = await serve(t, { filters: ['echo'], maxPayload: SIZE, ...files })
    const peer = await Peer.open(server.url, { rejectUnauthorized: false, maxPayload: SIZE })
    const big = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7919) % 251))
    peer.send(big)
    assert.ok(big.equals((await peer.get(1))[0] as Buffer))
  })

  it('accept TLS 1.2 and 1.3', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], ...files })
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await tlsTo(server.url, { minVersion: version, maxVersion: version })
      assert.equal(socket.getProtocol(), version)
      socket.destroy()
    }
  })

  it('refuse TLS 1.1, also after a reload', async t => {
    const { files, pems, renew } = await selfSignedFiles(t)
    // A server that supports it can serve this client.
    const lax = createTlsServer({ key: pems.key, cert: pems.cert, ...TLS_1_1 }).listen(0)
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

  it('survive peers without TLS', async t => {
    const { files } = await selfSignedFiles(t)
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

  it('close a peer that never finishes its TLS handshake after handshake-timeout', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2, ...files })
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    t.after(() => void socket.destroy())
    socket.on('error', () => {})
    socket.resume()
    await until(() => socket.closed, 'the end of the connection')
  })

  it('close peers with an unfinished TLS handshake at close()', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], handshakeTimeout: 60, ...files })
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    t.after(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket.resume(), 'connect')
    // By then the server has accepted the other connection too.
    await Peer.open(server.url, { rejectUnauthorized: false })
    await server.close()
    await until(() => socket.closed, 'the end of the connection')
  })

  it('close a peer that never finishes its request headers after handshake-timeout', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], handshakeTimeout: 0.2, ...files })
    const socket = await tlsTo(server.url)
    t.after(() => void socket.destroy())
    socket.resume().write('GET / HTTP/1.1\r\n')
    await until(() => socket.closed, 'the end of the connection')
  })
})

describe('reload()', () => {
  it('serves the new certificate to new connections; open clients stay connected', async t => {
    const { files, renew } = await selfSignedFiles(t, 'first')
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

  it('may be repeated', async t => {
    const { files, renew } = await selfSignedFiles(t, 'first')
    const server = await serve(t, { filters: [], ...files })
    for (const name of ['second', 'third']) {
      await renew(name)
      server.reload()
      assert.equal(await servedName(server.url), name)
    }
  })

  for (const [what, spoil, problem] of [
    [
      'a broken certificate',
      ({ cert }: Pems) => writeFile(cert, 'no certificate'),
      '--cert CERT is not in PEM format: it has no line "-----BEGIN ..."',
    ],
    [
      'a missing certificate',
      ({ cert }: Pems) => rm(cert),
      "--cert CERT cannot be read: ENOENT: no such file or directory, open 'CERT'",
    ],
    ['an empty certificate', ({ cert }: Pems) => writeFile(cert, ''), '--cert CERT is empty'],
    ['an empty key', ({ key }: Pems) => writeFile(key, ''), '--key KEY is empty'],
    [
      'a certificate of another key',
      async ({ cert }: Pems) => writeFile(cert, (await selfSigned('other')).cert),
      '--key KEY does not belong to --cert CERT, the certificate of "CN=other"',
    ],
    [
      'swapped files',
      async ({ key, cert }: Pems) => {
        const [had, has] = await Promise.all([readFile(key), readFile(cert)])
        await Promise.all([writeFile(key, has), writeFile(cert, had)])
      },
      '--key KEY holds a certificate and --cert CERT a private key; swap them',
    ],
  ] as const) {
    it(`with ${what} throws and keeps the old certificate until the files are valid again`, async t => {
      const { files, renew } = await selfSignedFiles(t, 'first')
      const server = await serve(t, { filters: ['echo'], ...files })
      const peer = await Peer.open(server.url, { rejectUnauthorized: false })
      await spoil(files)
      const message = problem.replaceAll('KEY', files.key).replaceAll('CERT', files.cert)
      assert.throws(() => server.reload(), { name: 'FwsError', code: 'ERR_OPTION', message })
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
  it('is refused before any filter starts', async t => {
    const { files } = await selfSignedFiles(t)
    const started: string[] = []
    await assert.rejects(
      createServer({
        port: 0,
        logLevel: 'silent',
        filters: [{ start: () => void started.push('filter') }],
        ...files,
        key: import.meta.dirname,
      }),
      {
        name: 'FwsError',
        code: 'ERR_OPTION',
        message: `--key ${import.meta.dirname} cannot be read: it is not a regular file`,
      },
    )
    assert.deepEqual(started, [])
  })
})

describe('SIGHUP', () => {
  for (const [what, filter, options] of [
    ['the port of WebSocket clients', 'echo', ['--key', 'key.pem', '--cert', 'cert.pem']],
    [
      'the port of messaging',
      'messaging',
      ['--messaging-port', '0', '--messaging-key', 'key.pem', '--messaging-cert', 'cert.pem'],
    ],
    [
      'both ports',
      'messaging',
      [
        ...['--key', 'key.pem', '--cert', 'cert.pem'],
        ...['--messaging-port', '0', '--messaging-key', 'key.pem', '--messaging-cert', 'messaging.pem'],
      ],
    ],
  ] as const) {
    it(`on ${what}: an invalid pair keeps the old one, and a valid one replaces it`, async t => {
      const { files, renew } = await selfSignedFiles(t, 'first')
      const cwd = dirname(files.key)
      const copy = () => copyFile(files.cert, join(cwd, 'messaging.pem'))
      await copy()
      const server = await launch(t, ['-p', '0', '-f', filter, ...options], { cwd })
      const urls = server
        .logged()
        .map(({ url }) => String(url))
        .filter(url => /^(wss|tls):/.test(url))
      assert.equal(urls.length, what === 'both ports' ? 2 : 1)
      const lines = () => server.logged().map(({ level, msg }) => `${level} ${msg}`)
      const served = () => Promise.all([...urls, ...urls].map(servedName))
      const reload = async (line: (text: string) => boolean) => {
        const before = lines().length
        server.child.kill('SIGHUP')
        await until(() => lines().slice(before).some(line), `a line about the reload, got ${server.stderr}`)
        return lines().slice(before)
      }
      // With both ports only the second certificate is bad: neither port uses the new files.
      const bad = what === 'both ports' ? join(cwd, 'messaging.pem') : files.cert
      const [keyOption, certOption] = what.startsWith('the port of W')
        ? ['--key', '--cert']
        : ['--messaging-key', '--messaging-cert']
      const prefix = keyOption === '--key' ? '' : 'filter messaging: '
      // It handles SIGHUP when it serves clients.
      assert.deepEqual(new Set(await served()), new Set(['first']))
      await renew('second')
      await writeFile(bad, '')
      assert.deepEqual(await reload(text => text.startsWith('50')), [
        `50 reload refused, the old TLS files stay in use: ${prefix}${certOption} ${bad} is empty`,
      ])
      assert.deepEqual(new Set(await served()), new Set(['first']))
      await writeFile(bad, (await selfSigned('other')).cert)
      assert.deepEqual(await reload(text => text.startsWith('50')), [
        `50 reload refused, the old TLS files stay in use: ${prefix}${keyOption} ${files.key} does not belong to ${certOption} ${bad}, the certificate of "CN=other"`,
      ])
      assert.deepEqual(new Set(await served()), new Set(['first']))
      await renew('third')
      await copy()
      assert.deepEqual(await reload(text => text.endsWith('reloaded')), ['30 TLS files reloaded'])
      assert.deepEqual(new Set(await served()), new Set(['third']))
    })
  }

  it('ends a server without files to reload', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'echo'])
    assert.equal((await server.stop('SIGHUP')).signal, 'SIGHUP')
  })
})

describe('reload of filters', () => {
  const good = { reload: () => () => void used.push('good') }
  let used: string[] = []
  beforeEach(() => {
    used = []
  })

  it('runs after all of them have read their files', async t => {
    const order: string[] = []
    const filter = (name: string) => ({
      reload: () => {
        order.push(`read ${name}`)
        return () => void order.push(`use ${name}`)
      },
    })
    const twice = { ...filter('exported'), setup: () => filter('returned') }
    const server = await serve(t, { filters: [filter('a'), twice, { reload: () => undefined }] })
    assert.equal(server.reloadable, true)
    assert.equal(server.reload(), true)
    assert.deepEqual(order, [
      ...['read a', 'read exported', 'read returned'],
      ...['use a', 'use exported', 'use returned'],
    ])
  })

  for (const [what, reload, code, message] of [
    [
      'an option that cannot be used',
      () => {
        throw optionError('--words is empty')
      },
      'ERR_OPTION',
      'filter inline: --words is empty',
    ],
    [
      'a bug',
      () => {
        throw new Error('boom')
      },
      'ERR_FILTER',
      'reload of filter inline failed: boom',
    ],
    [
      'a promise',
      () => Promise.resolve(() => {}) as never,
      'ERR_FILTER',
      'reload of filter inline failed: it must return a function, received object',
    ],
  ] as const)
    it(`keeps the files of every filter after ${what}`, async t => {
      const server = await serve(t, { filters: [good, { reload }] })
      assert.throws(() => server.reload(), { code, message })
      assert.deepEqual(used, [])
    })

  it('does nothing without any', async t => {
    const server = await serve(t, { filters: ['echo'] })
    assert.deepEqual([server.reloadable, server.reload()], [false, false])
  })
})

describe('a failed TLS handshake', () => {
  const failures = (server: { counters: { tlsFailures: Record<string, number> } }) => ({
    ...server.counters.tlsFailures,
  })

  it('is counted, and logged once a minute if the client refuses the certificate', async t => {
    const { files } = await selfSignedFiles(t)
    const { log, logged } = collectedLog()
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const server = await serve(t, { filters: [], ...files, log })
    const { host } = new URL(server.url)
    for (let i = 0; i < 7; i++)
      await once(spawn('openssl', ['s_client', '-connect', host, '-verify_return_error'], { stdio: 'ignore' }), 'close')
    await until(() => failures(server).ERR_SSL_TLSV1_ALERT_UNKNOWN_CA === 7, 'all failures')
    assert.deepEqual(
      logged.filter(({ level }) => Number(level) > 30).map(({ level, code, msg }) => ({ level, code, msg })),
      [
        {
          level: 40,
          code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
          msg: 'a client refused the certificate of this server: unknown ca',
        },
      ],
    )
  })

  it('is only counted if the client is the cause', async t => {
    const { files } = await selfSignedFiles(t)
    const { log, logged } = collectedLog()
    const server = await serve(t, { filters: [], ...files, log })
    const plain = connect(Number(new URL(server.url).port), '127.0.0.1')
    plain.on('error', () => {})
    plain.resume().write('GET / HTTP/1.1\r\n\r\n')
    await assert.rejects(tlsTo(server.url, TLS_1_1))
    await until(() => Object.keys(failures(server)).length === 2, 'both failures')
    assert.deepEqual(failures(server), { ERR_SSL_HTTP_REQUEST: 1, ERR_SSL_UNSUPPORTED_PROTOCOL: 1 })
    assert.deepEqual(
      logged.filter(({ level }) => Number(level) > 30),
      [],
    )
  })
})
