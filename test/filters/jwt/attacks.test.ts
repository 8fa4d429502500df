import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { folder, type Launched, launch, run } from '../../support/cli.ts'
import { Peer, until } from '../../support/peer.ts'
import { ec, forge, forgeSigned, rsa, SECRET, sign } from '../../support/tokens.ts'
import { upgrade } from '../../support/upgrade.ts'

const now = () => Math.floor(Date.now() / 1000)
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

/** Launches a server that stops after all tests of a block. */
function endings() {
  const ends: (() => void | Promise<void>)[] = []
  return {
    after: (end: () => void | Promise<void>) => void ends.push(end),
    run: async () => {
      for (const end of ends.reverse()) await end()
    },
  }
}

/** Status and reason of the refused handshakes in the log. */
function refused(server: Launched): readonly unknown[][] {
  const lines = server.logged().filter(({ msg }) => msg === 'handshake refused')
  return lines.map(({ status, reason }) => [status, reason])
}

/** Asserts that the output of the server contains no part of a token. */
function assertUnsaid(server: Launched, token: string): void {
  for (const part of [token, ...token.split('.')].filter(text => text.length > 8))
    assert.ok(!`${server.stderr}${server.stdout}`.includes(part), `the output has ${part}`)
}

/** Asserts the reason in the response and in the log. */
async function assertRefused(server: Launched, token: string, reason: string): Promise<void> {
  const before = refused(server).length
  const { status, headers, body } = await upgrade(server.url, bearer(token))
  assert.deepEqual([status, body], [401, `token refused: ${reason}\n`])
  assert.equal(
    headers['www-authenticate'],
    `Bearer realm="filtered-websocket", error="invalid_token", error_description="${reason}"`,
  )
  await until(() => refused(server).length > before, 'a line in the log')
  assert.deepEqual(refused(server).slice(before), [[401, `token refused: ${reason}`]])
  assertUnsaid(server, token)
}

describe('jwt with a secret, attacked', () => {
  const t = endings()
  let server: Launched
  before(async () => {
    const argv = ['-p', '0', '-f', 'jwt', 'log', 'echo', '--log-level', 'trace', '--jwt-first-message']
    const more = ['--jwt-audience', 'chat', '--jwt-issuer', 'https://issuer.example', '--jwt-query']
    server = await launch(t, [...argv, ...more], { env: { FWS_JWT_SECRET: SECRET } })
  })
  after(() => t.run())
  const good = { sub: 'ann', aud: 'chat', iss: 'https://issuer.example' }

  it('admits a client with a valid token', async () => {
    const { status, peer } = await upgrade(server.url, bearer(sign(good)))
    assert.equal(status, 101)
    peer!.send('hello')
    assert.deepEqual(await peer!.get(1), ['hello'])
  })

  const cases: [what: string, token: () => string, reason: string][] = [
    ['alg none, unsigned', () => forge({ alg: 'none', typ: 'JWT' }, { ...good, exp: now() + 60 }), 'wrong algorithm'],
    ['alg none in other letters', () => forge({ alg: 'nOnE' }, { ...good, exp: now() + 60 }), 'wrong algorithm'],
    [
      'alg none with the signature of another',
      () => forge({ alg: 'none' }, { ...good, exp: now() + 60 }, sign(good).split('.')[2]),
      'wrong algorithm',
    ],
    ['HS256 without a signature', () => forge({ alg: 'HS256' }, { ...good, exp: now() + 60 }), 'bad signature'],
    ['another algorithm with the right secret', () => sign(good, { algorithm: 'HS512' }), 'wrong algorithm'],
    ['another secret', () => sign(good, { key: 'x'.repeat(40) }), 'bad signature'],
    [
      'other claims under the signature of good ones',
      () => {
        const [head, , signature] = sign(good).split('.')
        return `${head}.${Buffer.from(JSON.stringify({ ...good, sub: 'root', exp: now() + 60 })).toString('base64url')}.${signature}`
      },
      'bad signature',
    ],
    ['expired', () => sign({ ...good, exp: now() - 60 }), 'expired'],
    ['without an expiry', () => forgeSigned({ ...good, iat: now() }), 'no expiry'],
    ['an expiry that is a text', () => forgeSigned({ ...good, exp: '9999999999' }), 'malformed'],
    [
      'an expiry without end',
      () => forgeSigned(JSON.stringify({ ...good, exp: 7 }).replace('7', '1e999')),
      'malformed',
    ],
    ['not yet valid', () => sign({ ...good, nbf: now() + 60 }), 'not yet valid'],
    ['the audience of another service', () => sign({ ...good, aud: 'mail' }), 'wrong audience'],
    ['no audience', () => sign({ ...good, aud: undefined }), 'wrong audience'],
    ['an audience that only contains ours', () => sign({ ...good, aud: 'chat.evil.example' }), 'wrong audience'],
    ['another issuer', () => sign({ ...good, iss: 'https://evil.example' }), 'wrong issuer'],
    ['an issuer that begins like ours', () => sign({ ...good, iss: 'https://issuer.example.evil' }), 'wrong issuer'],
    ['a subject that is no text', () => forgeSigned({ ...good, sub: { $ne: 1 }, exp: now() + 60 }), 'malformed'],
    ['a list for claims', () => forgeSigned([good]), 'wrong audience'],
    ['null for claims', () => forgeSigned('null'), 'malformed'],
    ['a key id that is a number', () => sign(good, { kid: 7 }), 'malformed'],
    [
      'an extension that must be understood',
      () => forgeSigned({ ...good, exp: now() + 60 }, { crit: ['x'] }),
      'malformed',
    ],
    ['a head that is no JSON', () => `${Buffer.from('{').toString('base64url')}.e30.c2ln`, 'malformed'],
    ['two parts', () => 'e30.e30', 'malformed'],
    ['five parts, as of an encrypted one', () => 'e30.e30.e30.e30.e30', 'malformed'],
    ['a huge one', () => sign({ ...good, fill: 'x'.repeat(8000) }), 'too long'],
  ]
  for (const [what, token, reason] of cases)
    it(`refuses ${what}: ${reason}`, () => assertRefused(server, token(), reason))

  it('does not use the key id as a path', async () => {
    for (const kid of ['../../../../dev/null', 'x'.repeat(4000), "' OR 1=1 --", 'http://evil.example/key'])
      await assertRefused(server, sign(good, { key: 'y'.repeat(40), kid }), 'bad signature')
  })

  it('logs no part of a token in the URL, valid or not, at any level', async () => {
    for (const token of [sign(good), sign({ ...good, exp: now() - 60 })]) {
      const { peer } = await upgrade(`${server.url}/?token=${token}&x=1`)
      peer?.send('hello')
      await peer?.get(1)
      peer?.ws.close()
      await peer?.end()
      assertUnsaid(server, token)
    }
    assert.ok(server.logged().some(({ level }) => level === 20))
    assert.ok(!server.stderr.includes('token='))
  })

  it('closes 4401 with a reason on a first message without a valid token', async () => {
    const expired = sign({ ...good, exp: now() - 60 })
    for (const [message, reason] of [
      ['hello', 'no token'],
      [Buffer.from(JSON.stringify({ auth: sign(good) })), 'malformed'],
      [JSON.stringify({ auth: sign(good), also: 1 }), 'malformed'],
      ['{"auth"', 'malformed'],
      ['{"auth":7}', 'malformed'],
      [JSON.stringify({ auth: expired }), 'expired'],
      [JSON.stringify({ auth: 'x'.repeat(8193) }), 'too long'],
      [`{"auth":"${'x'.repeat(500_000)}"}`, 'too long'],
    ] as const) {
      const peer = await Peer.open(server.url)
      peer.send(message)
      peer.send('and this')
      assert.deepEqual(await peer.end(), { code: 4401, reason })
      assert.deepEqual(peer.received, [])
      const said = () => server.logged().findLast(({ msg }) => msg === 'not authenticated')?.reason
      await until(() => said() === reason, `${reason} in the log, got ${said()}`)
    }
    assertUnsaid(server, expired)
  })

  it('never prints its secret, not even with --explain', async () => {
    const { code, stdout, stderr } = await run(['-f', 'jwt', '--explain'], { env: { FWS_JWT_SECRET: SECRET } })
    assert.equal(code, 0)
    assert.match(stdout, /jwt-secret +\*{8} +env FWS_JWT_SECRET/)
    for (const said of [stdout, stderr, server.stderr, server.stdout]) assert.ok(!said.includes(SECRET))
  })

  it('does not pass the message with a token to later filters', async () => {
    const token = sign(good)
    const peer = await Peer.open(server.url)
    peer.send(JSON.stringify({ auth: token }))
    peer.send(JSON.stringify({ auth: token }))
    peer.send('hello')
    const [first, second, third] = await peer.get(3)
    for (const answer of [first, second]) assert.equal(JSON.parse(String(answer)).auth, 'ok')
    assert.equal(third, 'hello')
    assertUnsaid(server, token)
  })
})

describe('jwt with a public key, attacked', () => {
  const t = endings()
  const [pair, other, curve] = [rsa(), rsa(), ec()]
  let server: Launched
  before(async () => {
    const cwd = folder(t, { 'key.pem': pair.pem })
    const argv = ['-p', '0', '-f', 'jwt', 'echo', '--log-level', 'trace', '--jwt-public-key', 'key.pem']
    server = await launch(t, argv, { cwd })
  })
  after(() => t.run())

  it('admits a client with a token of the private key', async () => {
    const token = sign({ sub: 'ann' }, { key: pair.privateKey, algorithm: 'RS256' })
    assert.equal((await upgrade(server.url, bearer(token))).status, 101)
  })

  it('refuses HS256 with the public key as secret', async () => {
    for (const secret of [pair.pem, pair.pem.trim(), String(pair.publicKey.export({ type: 'pkcs1', format: 'pem' }))]) {
      const unsigned = sign({ sub: 'root' }).split('.').slice(0, 2).join('.')
      const signature = createHmac('sha256', secret).update(unsigned).digest('base64url')
      await assertRefused(server, `${unsigned}.${signature}`, 'wrong algorithm')
    }
  })

  it('refuses other keys, and other algorithms with the same key', async () => {
    await assertRefused(server, sign({}, { key: other.privateKey, algorithm: 'RS256' }), 'bad signature')
    await assertRefused(server, sign({}, { key: pair.privateKey, algorithm: 'RS512' }), 'wrong algorithm')
    await assertRefused(server, sign({}, { key: pair.privateKey, algorithm: 'PS256' }), 'wrong algorithm')
    await assertRefused(server, sign({}, { key: curve.privateKey, algorithm: 'ES256' }), 'wrong algorithm')
  })
})
