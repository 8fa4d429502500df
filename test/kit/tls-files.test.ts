import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { connect, createServer } from 'node:tls'
import {
  certificatesIn,
  privateKeyIn,
  publicKeyIn,
  readAuthorities,
  readPem,
  readTlsFiles,
} from '../../src/kit/index.ts'
import { tlsFailureOf } from '../../src/kit/tls-failure.ts'
import { signed } from '../support/certificates.ts'
import { launch, refusal } from '../support/cli.ts'
import { until } from '../support/peer.ts'
import { root } from '../support/root.ts'

/** The folder with the files of `openssl-files.sh`. */
let files = ''
before(() => {
  files = mkdtempSync(join(tmpdir(), 'fws-'))
  execFileSync('sh', [join(root, 'test/support/openssl-files.sh')], { cwd: files, stdio: 'pipe' })
  execFileSync('mkfifo', [join(files, 'pipe')])
  writeFileSync(join(files, 'large'), '')
  truncateSync(join(files, 'large'), 1_048_577)
})
after(() => rmSync(files, { recursive: true }))

const at = (name: string) => join(files, name)

/** The message of an `ERR_OPTION` error, with the paths as file names. */
function sentenceOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'ERR_OPTION')
    return (error as Error).message.replaceAll(`${files}/`, '')
  }
  return 'no error'
}

function readPair(key: string, cert: string, passphrase?: string) {
  const warnings: string[] = []
  const pair = readTlsFiles({ key: at(key), cert: at(cert), passphrase }, '--', warning =>
    warnings.push(warning.replaceAll(`${files}/`, '')),
  )
  return { pair, warnings }
}

const WITHOUT_LINE = 'is not in PEM format: it has no line "-----BEGIN ..."'
const WITHOUT_END = 'is incomplete: a PEM block has no END line; copy the file again'
const DER = 'is in DER format; convert a private key with: openssl pkey -inform DER -in FILE -out FILE.pem'
const DER_CERTIFICATE =
  'is a certificate in DER format; convert it with: openssl x509 -inform DER -in FILE -out FILE.pem'
const PKCS12 = 'is a PKCS#12 archive; convert it with: openssl pkcs12 -in FILE -out FILE.pem'
const DAMAGED = 'holds a private key that is damaged or of an unknown algorithm'

describe('an unusable key and certificate', () => {
  for (const [key, cert, sentence, passphrase] of [
    // The key.
    ['none', 'rsa.crt', "--key none cannot be read: ENOENT: no such file or directory, open 'none'"],
    ['pipe', 'rsa.crt', '--key pipe cannot be read: it is not a regular file'],
    ['large', 'rsa.crt', '--key large cannot be read: it is larger than 1048576 bytes'],
    ['empty', 'rsa.crt', '--key empty is empty'],
    ['blank', 'rsa.crt', '--key blank is empty'],
    ['mark', 'rsa.crt', '--key mark is empty'],
    ['word', 'rsa.crt', `--key word ${WITHOUT_LINE}`],
    ['digits', 'rsa.crt', `--key digits ${WITHOUT_LINE}`],
    ['utf16.key', 'rsa.crt', '--key utf16.key is encoded as UTF-16; save it as UTF-8'],
    ['half.key', 'rsa.crt', `--key half.key ${WITHOUT_END}`],
    ['damaged.key', 'rsa.crt', `--key damaged.key ${DAMAGED}`],
    ['key.der', 'rsa.crt', `--key key.der ${DER}`],
    ['small.der', 'ed25519.crt', `--key small.der ${DER}`],
    ['cert.der', 'rsa.crt', `--key cert.der ${DER_CERTIFICATE}`],
    ['bundle.p12', 'rsa.crt', `--key bundle.p12 ${PKCS12}`],
    ['rsa.crt', 'rsa.crt', '--key rsa.crt holds a certificate, not a private key'],
    ['public.pem', 'rsa.crt', '--key public.pem holds a public key, not a private key'],
    [
      'leaf.csr',
      'leaf.crt',
      '--key leaf.csr holds a certificate request, not a private key; an authority issues the certificate for it',
    ],
    [
      'openssh.key',
      'rsa.crt',
      '--key openssh.key holds a private key in OpenSSH format, not in PEM format; convert a copy with: ssh-keygen -p -m PEM -f FILE',
    ],
    ['dsa.params', 'rsa.crt', '--key dsa.params holds a block "DSA PARAMETERS", not a private key'],
    ['keys.pem', 'p256.crt', '--key keys.pem holds 2 private keys; keep one'],
    ['encrypted.key', 'rsa.crt', '--key encrypted.key is encrypted; give --key-passphrase'],
    ['traditional.key', 'rsa.crt', '--key traditional.key is encrypted; give --key-passphrase'],
    ['crlf-traditional.key', 'rsa.crt', '--key crlf-traditional.key is encrypted; give --key-passphrase'],
    [
      'encrypted.key',
      'rsa.crt',
      '--key encrypted.key cannot be decrypted: --key-passphrase is wrong, or the file is damaged',
      'sword',
    ],
    [
      'traditional.key',
      'rsa.crt',
      '--key traditional.key cannot be decrypted: --key-passphrase is wrong, or the file is damaged',
      'sword',
    ],
    [
      'outdated.key',
      'rsa.crt',
      '--key outdated.key is encrypted with an outdated cipher; encrypt it again with: openssl pkcs8 -topk8 -provider legacy -provider default -in FILE -out FILE.pem',
      'word',
    ],
    ['rsa512.key', 'rsa512.crt', '--key rsa512.key is an RSA key of 512 bits; TLS needs 2048 or more'],
    ['rsa1024.key', 'rsa1024.crt', '--key rsa1024.key is an RSA key of 1024 bits; TLS needs 2048 or more'],
    [
      'koblitz.key',
      'koblitz.crt',
      '--key koblitz.key is a key of the curve secp256k1; TLS takes prime256v1, secp384r1, secp521r1',
    ],
    [
      'brainpool.key',
      'brainpool.crt',
      '--key brainpool.key is a key of the curve brainpoolP256r1; TLS takes prime256v1, secp384r1, secp521r1',
    ],
    ['x25519.key', 'rsa.crt', '--key x25519.key is a key of the algorithm x25519; TLS takes RSA, EC and Ed25519'],
    ['dsa.key', 'rsa.crt', '--key dsa.key is a key of the algorithm dsa; TLS takes RSA, EC and Ed25519'],
    // The certificate.
    ['rsa.key', 'none', "--cert none cannot be read: ENOENT: no such file or directory, open 'none'"],
    ['rsa.key', 'pipe', '--cert pipe cannot be read: it is not a regular file'],
    ['rsa.key', 'empty', '--cert empty is empty'],
    ['rsa.key', 'mark', '--cert mark is empty'],
    ['rsa.key', 'word', `--cert word ${WITHOUT_LINE}`],
    ['rsa.key', 'unmarked16.crt', '--cert unmarked16.crt is encoded as UTF-16; save it as UTF-8'],
    ['rsa.key', 'half.crt', `--cert half.crt ${WITHOUT_END}`],
    ['rsa.key', 'damaged.crt', '--cert damaged.crt: certificate 1 of 1 is damaged; copy the file again'],
    ['leaf.key', 'second-damaged.crt', '--cert second-damaged.crt: certificate 2 of 2 is damaged; copy the file again'],
    ['rsa.key', 'cert.der', `--cert cert.der ${DER_CERTIFICATE}`],
    ['rsa.key', 'bundle.p12', `--cert bundle.p12 ${PKCS12}`],
    [
      'leaf.key',
      'chain.p7c',
      '--cert chain.p7c is a PKCS#7 container in DER format; convert it with: openssl pkcs7 -inform DER -print_certs -in FILE -out FILE.pem',
    ],
    [
      'leaf.key',
      'chain.p7b',
      '--cert chain.p7b holds a PKCS#7 container, not a certificate; convert it with: openssl pkcs7 -print_certs -in FILE -out FILE.pem',
    ],
    [
      'leaf.key',
      'leaf.csr',
      '--cert leaf.csr holds a certificate request, not a certificate; an authority issues the certificate for it',
    ],
    ['rsa.key', 'rsa.key', '--cert rsa.key holds a private key, not a certificate'],
    ['rsa.key', 'public.pem', '--cert public.pem holds a public key, not a certificate'],
    // Both.
    ['rsa.crt', 'rsa.key', '--key rsa.crt holds a certificate and --cert rsa.key a private key; swap them'],
    [
      'chain.crt',
      'encrypted.key',
      '--key chain.crt holds a certificate and --cert encrypted.key a private key; swap them',
    ],
    ['rsa.key', 'other.crt', '--key rsa.key does not belong to --cert other.crt, the certificate of "CN=other"'],
    ['p256.key', 'other.crt', '--key p256.key does not belong to --cert other.crt, the certificate of "CN=other"'],
    ['leaf.key', 'root.crt', '--key leaf.key does not belong to --cert root.crt, the certificate of "CN=root"'],
    ['other.key', 'chain.crt', '--key other.key does not belong to --cert chain.crt, the certificate of "CN=leaf"'],
    [
      'leaf.key',
      'reversed.crt',
      '--cert reversed.crt begins with the certificate of "CN=middle"; put the one of "CN=leaf" first, whose key is --key leaf.key',
    ],
    [
      'leaf.key',
      'jumbled.crt',
      '--cert jumbled.crt: certificate 2 ("CN=root") did not issue certificate 1 ("CN=leaf"); put each certificate before its issuer',
    ],
    [
      'leaf.key',
      'twice.crt',
      '--cert twice.crt: certificate 2 ("CN=leaf") did not issue certificate 1 ("CN=leaf"); put each certificate before its issuer',
    ],
    [
      'leaf.key',
      'namesake.crt',
      '--cert namesake.crt: certificate 3 ("CN=root") did not issue certificate 2 ("CN=middle"); put each certificate before its issuer',
    ],
  ] as const) {
    it(`${key} and ${cert}${passphrase ? ' with a passphrase' : ''} are refused in one sentence`, () => {
      assert.equal(
        sentenceOf(() => readPair(key, cert, passphrase)),
        sentence,
      )
    })
  }

  it('are named by the option that set them', () => {
    const read = (key: string, passphrase?: string) =>
      readTlsFiles({ key: at(key), cert: at('rsa.crt'), passphrase }, '--messaging-', () => {})
    assert.equal(
      sentenceOf(() => read('encrypted.key')),
      '--messaging-key encrypted.key is encrypted; give --messaging-key-passphrase',
    )
    assert.equal(
      sentenceOf(() => read('p256.key')),
      '--messaging-key p256.key does not belong to --messaging-cert rsa.crt, the certificate of "CN=rsa"',
    )
  })
})

describe('a key and its certificate', () => {
  for (const [key, cert, passphrase] of [
    ['rsa.key', 'rsa.crt'],
    ['pkcs1.key', 'rsa.crt'],
    ['p256.key', 'p256.crt'],
    ['sec1.key', 'p256.crt'],
    ['p384.key', 'p384.crt'],
    ['p521.key', 'p521.crt'],
    ['ed25519.key', 'ed25519.crt'],
    ['ed448.key', 'ed448.crt'],
    ['pss.key', 'pss.crt'],
    ['leaf.key', 'leaf.crt'],
    ['leaf.key', 'chain.crt'],
    ['combined.pem', 'combined.pem'],
    ['encrypted.key', 'rsa.crt', 'word'],
    ['traditional.key', 'rsa.crt', 'word'],
    ['crlf-traditional.key', 'rsa.crt', 'word'],
    ['rsa.key', 'rsa.crt', 'word'],
    ['crlf.key', 'crlf.crt'],
    ['cr.key', 'rsa.crt'],
    ['indented.key', 'rsa.crt'],
    ['marked.key', 'marked.crt'],
    ['rsa.key', 'described.crt'],
  ] as const) {
    it(`${key} and ${cert}${passphrase ? ' with a passphrase' : ''} complete a TLS handshake`, async t => {
      const { pair, warnings } = readPair(key, cert, passphrase)
      assert.deepEqual(warnings, [])
      const server = createServer(pair, socket => socket.end()).listen(0, '127.0.0.1')
      t.after(() => server.close())
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
      t.after(() => void socket.destroy())
      await once(socket, 'secureConnect')
      assert.equal(
        socket.getPeerX509Certificate()!.raw.equals(certificatesIn(readPem('--cert', at(cert)))[0]!.raw),
        true,
      )
    })
  }

  it('in one file keep the key out of the certificates', () => {
    assert.doesNotMatch(readPair('combined.pem', 'combined.pem').pair.cert, /PRIVATE/)
  })

  it('that clients do not accept yet are used with a warning', async () => {
    const day = 86_400_000
    const by = { key: '', cert: '' }
    for (const kind of ['key', 'cert'] as const)
      by[kind] = execFileSync('cat', [at(kind === 'key' ? 'rsa.key' : 'rsa.crt')], { encoding: 'utf8' })
    const put = async (name: string, valid: { from?: Date; until?: Date }) => {
      const { key, cert } = await signed(by, { commonName: name }, valid)
      writeFileSync(at(`${name}.key`), key)
      writeFileSync(at(`${name}.crt`), cert)
      return readPair(`${name}.key`, `${name}.crt`).warnings
    }
    const rounded = (ms: number) => new Date(Math.floor((Date.now() + ms) / 1000) * 1000)
    const [past, future] = [rounded(-day), rounded(day)]
    assert.deepEqual(await put('expired', { from: rounded(-2 * day), until: past }), [
      `--cert expired.crt: the certificate of "CN=expired" expired at ${past.toISOString()}; peers refuse it`,
    ])
    assert.deepEqual(await put('early', { from: future, until: rounded(2 * day) }), [
      `--cert early.crt: the certificate of "CN=early" is not valid before ${future.toISOString()}`,
    ])
    assert.deepEqual(readPair('visitor.key', 'visitor.crt').warnings, [
      '--cert visitor.crt is not for servers: its extended key usage lacks serverAuth; clients refuse it',
    ])
  })
})

describe('authorities', () => {
  const read = (name: string) => readAuthorities('--ca', at(name), () => {})

  for (const [name, count] of [
    ['root.crt', 1],
    ['chain.crt', 3],
    ['middle.crt', 1],
    ['rsa.crt', 1],
    ['crlf.crt', 1],
    ['described.crt', 1],
    ['combined.pem', 2],
  ] as const)
    it(`are the certificates of ${name}`, () => assert.equal(read(name).length, count))

  for (const [name, problem] of [
    ['empty', 'is empty'],
    ['word', WITHOUT_LINE],
    ['root.key', 'holds a private key, not a certificate'],
    ['cert.der', DER_CERTIFICATE],
    ['half.crt', WITHOUT_END],
    ['second-damaged.crt', ': certificate 2 of 2 is damaged; copy the file again'],
    ['leaf.crt', 'holds no certificate of an authority: "CN=leaf" cannot sign others'],
    ['pipe', 'cannot be read: it is not a regular file'],
  ] as const)
    it(`are not in ${name}`, () =>
      assert.equal(
        sentenceOf(() => read(name)),
        `--ca ${name} ${problem}`.replace(' :', ':'),
      ))
})

describe('a key for tokens', () => {
  for (const name of ['public.pem', 'rsa.crt', 'crlf.crt', 'described.crt', 'marked.crt'])
    it(`is public in ${name}`, () =>
      assert.equal(publicKeyIn(readPem('--jwt-public-key', at(name))).asymmetricKeyType, 'rsa'))

  const PUBLIC = 'holds a private key; give only its public key: openssl pkey -in FILE -pubout'
  for (const [name, problem] of [
    ['rsa.key', PUBLIC],
    ['encrypted.key', PUBLIC],
    ['combined.pem', PUBLIC],
    ['openssh.key', PUBLIC],
    ['empty', 'is empty'],
    ['pipe', 'cannot be read: it is not a regular file'],
    ['large', 'cannot be read: it is larger than 1048576 bytes'],
    ['key.der', DER],
    ['damaged.crt', 'holds a public key that is damaged or of an unknown algorithm'],
  ] as const)
    it(`is not public in ${name}`, () =>
      assert.equal(
        sentenceOf(() => publicKeyIn(readPem('--jwt-public-key', at(name)))),
        `--jwt-public-key ${name} ${problem}`,
      ))

  it('is not decrypted if no option accepts a passphrase', () =>
    assert.equal(
      sentenceOf(() => privateKeyIn(readPem('--private-key', at('encrypted.key')))),
      '--private-key encrypted.key is encrypted; decrypt it with: openssl pkey -in FILE -out FILE.pem',
    ))
})

describe('a failed TLS handshake', () => {
  for (const [code, sentence] of [
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'a client refused the certificate of this server: unknown ca'],
    ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', 'a client refused the certificate of this server: bad certificate'],
    [
      'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED',
      'a client refused the certificate of this server: certificate expired',
    ],
    ['ERR_SSL_NO_SHARED_CIPHER', 'the key of this server supports no cipher or signature that the client offers'],
    ['ECONNRESET', undefined],
    ['ERR_SSL_HTTP_REQUEST', undefined],
    ['ERR_SSL_WRONG_VERSION_NUMBER', undefined],
    ['ERR_SSL_UNSUPPORTED_PROTOCOL', undefined],
    ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', undefined],
  ] as const)
    it(`${code} is ${sentence ? 'worth a warning' : 'not the fault of the server'}`, () =>
      assert.equal(tlsFailureOf(code), sentence))
})

describe('a passphrase', () => {
  for (const [what, options, variable, event] of [
    [
      'the port of WebSocket clients',
      ['-f', 'echo', '--key', 'encrypted.key', '--cert', 'rsa.crt'],
      'FWS_KEY_PASSPHRASE',
      'wss',
    ],
    [
      'the port of messaging',
      ['-f', 'messaging', '--messaging-port', '0', '--messaging-key', 'encrypted.key', '--messaging-cert', 'rsa.crt'],
      'FWS_MESSAGING_KEY_PASSPHRASE',
      'tls',
    ],
  ] as const)
    it(`is read from a file for ${what}, also on reload`, async t => {
      writeFileSync(at('passphrase'), 'word\n')
      const env = { [`${variable}_FILE`]: 'passphrase' }
      const server = await launch(t, ['-p', '0', ...options], { cwd: files, env })
      const url = server.logged().find(line => String(line.url).startsWith(`${event}:`))!.url as string
      const handshake = async () => {
        const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false })
        socket.on('error', () => {})
        await once(socket, 'secureConnect')
        socket.destroy()
      }
      await handshake()
      server.child.kill('SIGHUP')
      await until(() => server.logged().some(({ msg }) => msg === 'TLS files reloaded'), 'the reload')
      await handshake()
    })
})

describe('a start with unusable files', () => {
  for (const [what, key, cert, sentence] of [
    ['an empty key', 'empty', 'rsa.crt', '--key empty is empty'],
    ['an empty certificate', 'rsa.key', 'empty', '--cert empty is empty'],
    [
      'a mismatched pair',
      'p256.key',
      'rsa.crt',
      '--key p256.key does not belong to --cert rsa.crt, the certificate of "CN=rsa"',
    ],
    [
      'swapped files',
      'rsa.crt',
      'rsa.key',
      '--key rsa.crt holds a certificate and --cert rsa.key a private key; swap them',
    ],
    ['an encrypted key', 'encrypted.key', 'rsa.crt', '--key encrypted.key is encrypted; give --key-passphrase'],
  ] as const)
    it(`is refused with exit 2: ${what}`, async () => {
      const said = await refusal(['-p', '0', '--key', key, '--cert', cert], { cwd: files })
      assert.equal(said.replaceAll(`${files}/`, ''), sentence)
    })

  it('is also refused for the port of messaging, Redis, jwt and the token command', async () => {
    for (const [argv, sentence] of [
      [
        '-f messaging --messaging-port 0 --messaging-key p256.key --messaging-cert rsa.crt',
        'filter messaging: --messaging-key p256.key does not belong to --messaging-cert rsa.crt, the certificate of "CN=rsa"',
      ],
      ['--storage redis --redis-tls-ca empty', '--redis-tls-ca empty is empty'],
      [
        '--storage redis --redis-tls-ca leaf.crt',
        '--redis-tls-ca leaf.crt holds no certificate of an authority: "CN=leaf" cannot sign others',
      ],
      ['-f jwt --jwt-public-key pipe', 'filter jwt: --jwt-public-key pipe cannot be read: it is not a regular file'],
      ['--key-passphrase word', '--key-passphrase is given without --key; it decrypts that file'],
      [
        '-f messaging --messaging-key-passphrase word',
        'filter messaging: --messaging-key-passphrase is given without --messaging-key; it decrypts that file',
      ],
    ] as const) {
      const said = await refusal(['-p', '0', ...argv.split(' ')], { cwd: files })
      assert.equal(said.replaceAll(`${files}/`, ''), sentence)
    }
    const said = await refusal(['token', '--private-key', 'encrypted.key'], { cwd: files })
    assert.equal(
      said.replaceAll(`${files}/`, ''),
      '--private-key encrypted.key is encrypted; decrypt it with: openssl pkey -in FILE -out FILE.pem',
    )
  })
})
