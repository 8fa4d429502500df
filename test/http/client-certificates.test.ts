import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Client } from '../../src/contract/client.ts'
import type { RunningServer, ServerOptions } from '../../src/index.ts'
import { authority, type Pems, pemFiles, signed } from '../support/certificates.ts'
import { folder, refusal } from '../support/cli.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { upgradeStatus } from '../support/upgrade.ts'

/** Made once, since keys are slow. */
const ours = await authority('our authority')
const theirs = await authority('another authority')
const server = await signed(ours, { commonName: 'localhost' })
const ann = await signed(ours, { commonName: 'ann', organizationName: 'Example' })
const stranger = await signed(theirs, { commonName: 'ann' })
const expired = await signed(ours, { commonName: 'ann' }, { from: new Date(2020, 0), until: new Date(2021, 0) })

interface Started {
  readonly server: RunningServer
  readonly clients: Client[]
  /** Replaces the authority. */
  trust(by: Pems): Promise<string>
}

async function start(t: TestContext, options: ServerOptions = {}): Promise<Started> {
  const write = await pemFiles(t)
  const clients: Client[] = []
  return {
    server: await serve(t, {
      filters: [{ open: client => void clients.push(client) }],
      key: await write('key.pem', server.key),
      cert: await write('cert.pem', server.cert),
      ca: await write('ca.pem', ours.cert),
      ...options,
    }),
    clients,
    trust: by => write('ca.pem', by.cert),
  }
}

const trusting = { rejectUnauthorized: false }
const as = ({ key, cert }: Pems) => ({ key, cert, ...trusting })

/** The response to a plain request, or the error that ended the connection. */
async function requestTo({ url }: RunningServer, options: ConnectionOptions): Promise<string> {
  const { socket, answer } = request(url, options)
  await Promise.race([once(socket, 'close'), once(socket, 'error')]).catch(() => {})
  return answer.error ?? answer.text
}

function request(url: string, options: ConnectionOptions) {
  const socket = connectTls({ port: Number(new URL(url).port), ...options })
  const answer: { text: string; error?: string } = { text: '' }
  socket.on('data', chunk => {
    answer.text += chunk
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    answer.error = error.code ?? error.message
  })
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  return { socket, answer }
}

/** A session of the server, after a response to the client. */
async function sessionOf({ url }: RunningServer, options: ConnectionOptions): Promise<Buffer> {
  const { socket, answer } = request(url, options)
  let session: Buffer | undefined
  socket.on('session', given => {
    session = given
  })
  await until(() => socket.closed || answer.error !== undefined, 'the end of the connection')
  assert.ok(session, `a session, got ${answer.error}`)
  return session
}

async function wasResumed(url: string, options: ConnectionOptions): Promise<boolean> {
  const socket: TLSSocket = connectTls({ port: Number(new URL(url).port), ...options })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  const isReused = socket.isSessionReused()
  socket.destroy()
  return isReused
}

describe('--ca', () => {
  it('accepts clients with a certificate of the authority, and sets their identity', async t => {
    const { server, clients } = await start(t)
    const peer = await Peer.open(server.url, as(ann))
    await until(() => clients.length === 1)
    const { serialNumber, fingerprint256, validTo } = new X509Certificate(ann.cert)
    assert.deepEqual(clients[0]!.state.certificate, {
      subject: { CN: 'ann', O: 'Example' },
      issuer: { CN: 'our authority' },
      serialNumber,
      fingerprint256,
      validTo,
    })
    assert.equal(clients[0]!.identity, 'ann')
    peer.ws.close()
  })

  it('refuses clients without a valid certificate', async t => {
    const { server, clients } = await start(t)
    for (const options of [trusting, as(stranger), as(expired)]) {
      const ws = await Peer.open(server.url, options).then(
        () => 'open',
        (error: NodeJS.ErrnoException) => error.code,
      )
      assert.match(String(ws), /^(ECONNRESET|ERR_SSL_.*CERTIFICATE_REQUIRED|EPIPE)$/)
    }
    assert.match(await requestTo(server, trusting), /^ERR_SSL_.*CERTIFICATE_REQUIRED$/)
    assert.equal(
      await requestTo(server, { ...as(stranger), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }),
      'ECONNRESET',
    )
    assert.deepEqual(clients, [])
    assert.deepEqual({ ...server.counters.refusals }, {})
  })

  it('logs an invalid certificate at debug level, with the reason', async t => {
    const write = await pemFiles(t)
    const { log, logged: lines } = collectedLog()
    const { server } = await start(t, { log, ca: await write('ca.pem', theirs.cert) })
    await Peer.open(server.url, as(ann)).catch(() => {})
    await until(() => lines.some(({ msg }) => msg === 'client certificate refused'))
    const { problem } = lines.find(({ msg }) => msg === 'client certificate refused')!
    assert.equal(problem, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  })

  it('does not set an identity for a certificate with several names or none', async t => {
    const { server, clients } = await start(t)
    const two = await signed(ours, [
      ['commonName', 'ann'],
      ['commonName', 'bob'],
    ])
    const none = await signed(ours, { organizationName: 'Example' })
    for (const pems of [two, none]) await Peer.open(server.url, as(pems))
    await until(() => clients.length === 2)
    assert.deepEqual(
      clients.map(({ identity, state }) => [identity, state.certificate?.subject.CN]),
      [
        [undefined, ['ann', 'bob']],
        [undefined, undefined],
      ],
    )
  })

  it('yields to the identity that a later filter sets', async t => {
    const { server, clients } = await start(t, {
      filters: [
        {
          connect: client => {
            assert.equal(client.identity, 'ann')
            client.identity = 'sub'
          },
          open: client => void clients2.push(client),
        },
      ],
    })
    const clients2 = clients
    await Peer.open(server.url, as(ann))
    await until(() => clients.length === 1)
    assert.equal(clients[0]!.identity, 'sub')
  })

  it('works behind a data filter', async t => {
    const clients: Client[] = []
    const filters = [{ data: () => {}, open: (client: Client) => void clients.push(client) }]
    const { server } = await start(t, { filters, clientCert: 'optional' })
    await Peer.open(server.url, as(ann))
    await until(() => clients.length === 1)
    assert.equal(clients[0]!.identity, 'ann')
    assert.equal(await upgradeStatus(server.url, as(stranger)), 403)
  })

  it('is read again by reload(), which invalidates old sessions', async t => {
    const { server, trust } = await start(t)
    const session = await sessionOf(server, as(ann))
    await trust(theirs)
    assert.equal(await upgradeStatus(server.url, as(ann)), 101)
    assert.equal(server.reload(), true)
    assert.equal(await upgradeStatus(server.url, as(stranger)), 101)
    for (const options of [as(ann), { ...as(ann), session }])
      await assert.rejects(Peer.open(server.url, options), { code: /^(?:ECONNRESET|EPIPE)$/ })
  })
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  describe(`a session that is resumed over ${version}`, () => {
    const only = { minVersion: version, maxVersion: version }
    it('keeps its identity', async t => {
      const { server, clients } = await start(t)
      const session = await sessionOf(server, { ...as(ann), ...only })
      assert.equal(await wasResumed(server.url, { ...trusting, ...only, session }), true)
      await Peer.open(server.url, { ...trusting, ...only, session } as never)
      await until(() => clients.length === 1)
      assert.equal(clients[0]!.identity, 'ann')
      assert.equal(clients[0]!.state.certificate?.subject.CN, 'ann')
    })

    it('does not have an identity without a certificate', async t => {
      const { server, clients } = await start(t, { clientCert: 'optional' })
      const session = await sessionOf(server, { ...trusting, ...only })
      assert.equal(await wasResumed(server.url, { ...trusting, ...only, session }), true)
      await Peer.open(server.url, { ...trusting, ...only, session } as never)
      await until(() => clients.length === 1)
      assert.deepEqual([clients[0]!.identity, clients[0]!.state], [undefined, {}])
    })

    it('is refused with an invalid certificate', async t => {
      const { server } = await start(t, { clientCert: 'optional' })
      const session = await sessionOf(server, { ...as(stranger), ...only })
      assert.equal(await wasResumed(server.url, { ...trusting, ...only, session }), true)
      assert.equal(await upgradeStatus(server.url, { ...trusting, ...only, session } as never), 403)
    })

    it('is refused once its certificate has expired', async t => {
      const { server, clients } = await start(t, { clientCert: 'optional' })
      const brief = await signed(ours, { commonName: 'ann' }, { until: new Date(Date.now() + 60_000) })
      const session = await sessionOf(server, { ...as(brief), ...only })
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 120_000 })
      assert.equal(await upgradeStatus(server.url, { ...trusting, ...only, session } as never), 403)
      assert.deepEqual(clients, [])
    })
  })
}

describe('--client-cert optional', () => {
  it('accepts clients without a certificate, without an identity', async t => {
    const { server, clients } = await start(t, { clientCert: 'optional' })
    await Peer.open(server.url, trusting)
    await until(() => clients.length === 1)
    assert.deepEqual([clients[0]!.identity, clients[0]!.state], [undefined, {}])
  })

  it('refuses an invalid certificate with 403, also for plain requests', async t => {
    const { server, clients } = await start(t, { clientCert: 'optional' })
    for (const [pems, problem] of [
      [stranger, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [expired, 'CERT_HAS_EXPIRED'],
    ] as const) {
      assert.equal(await upgradeStatus(server.url, as(pems)), 403)
      const answer = await requestTo(server, as(pems))
      assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/)
      assert.ok(answer.includes(`\r\nthe client certificate is not valid (${problem}); see --ca\n`), answer)
    }
    assert.deepEqual(clients, [])
    assert.deepEqual({ ...server.counters.refusals }, { 403: 4 })
    assert.match(await requestTo(server, as(ann)), /^HTTP\/1\.1 426 /)
    assert.match(await requestTo(server, trusting), /^HTTP\/1\.1 426 /)
  })
})

describe('options of client certificates', () => {
  it('are refused at the start when they make no sense together', async t => {
    const cwd = folder(t, { 'ca.pem': ours.cert, 'none.pem': 'no certificate', 'key.pem': server.key })
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    const write = await pemFiles(t)
    const tls = ['--key', 'key.pem', '--cert', await write('cert.pem', server.cert), '-p', '0']
    for (const [argv, sentence] of [
      [
        ['--client-cert', 'optional'],
        '--client-cert is given without --ca; it names the authorities of client certificates',
      ],
      [['--ca', 'ca.pem'], '--ca is given without --key and --cert; client certificates need TLS'],
      [['--ca', 'ca.pem', '--key', 'key.pem'], '--key is given without --cert; TLS needs both'],
      [
        [...tls, '--ca', 'ca.pem', '--client-cert', 'requierd'],
        '--client-cert takes one of required, optional, received "requierd"; did you mean "required"?',
      ],
      [[...tls, '--ca', 'none.pem'], `--ca ${cwd}/none.pem is not in PEM format: it has no line "-----BEGIN ..."`],
    ] as const) {
      assert.equal(await refusal(argv, { cwd }), sentence)
    }
    const path = await write('broken.pem', ours.cert + broken)
    assert.equal(
      await refusal([...tls, '--ca', path], { cwd }),
      `--ca ${path}: certificate 2 of 2 is damaged; copy the file again`,
    )
  })
})
