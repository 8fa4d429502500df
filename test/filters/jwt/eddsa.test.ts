import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign as signBytes } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { RemoteKeys } from '../../../filters/jwt/jwks.ts'
import { publicKeySource } from '../../../filters/jwt/keys.ts'
import type { JwtOptions } from '../../../filters/jwt/options.ts'
import { verifierOf } from '../../../filters/jwt/verify.ts'
import { folder } from '../../support/cli.ts'
import { startTestServer } from '../../support/test-server.ts'
import { rsa, sign } from '../../support/tokens.ts'

type Curve = 'ed25519' | 'ed448'

const now = () => Math.floor(Date.now() / 1000)
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

function pairOf(curve: Curve) {
  const { privateKey, publicKey } = curve === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ed448')
  return { privateKey, publicKey, pem: String(publicKey.export({ type: 'spki', format: 'pem' })) }
}

/** A token of an issuer, made without the code under test. */
function token(pair: ReturnType<typeof pairOf>, claims: object, header: object = {}): string {
  const input = `${part({ alg: 'EdDSA', ...header })}.${part({ exp: now() + 60, ...claims })}`
  return `${input}.${signBytes(null, Buffer.from(input), pair.privateKey).toString('base64url')}`
}

/** Verifies with the key in a file, and these options. */
function verifier(t: TestContext, pem: string, options: object = {}) {
  const chosen = {
    'jwt-algorithms': [],
    'jwt-issuer': [],
    'jwt-audience': [],
    'jwt-require': [],
    'jwt-clock-tolerance': 5,
    'jwt-max-token': 8192,
    ...options,
  } as unknown as JwtOptions
  return verifierOf(chosen, publicKeySource(`${folder(t, { 'key.pem': pem })}/key.pem`, chosen['jwt-algorithms']))
}

const refused = (reason: string) => ({ message: `token refused: ${reason}` })

describe('jwt: EdDSA', () => {
  for (const curve of ['ed25519', 'ed448'] as const)
    it(`accepts a token of ${curve}`, async t => {
      const pair = pairOf(curve)
      const { claims, expires } = await verifier(t, pair.pem)(token(pair, { sub: 'ann', exp: now() + 60 }))
      assert.deepEqual([claims.sub, expires], ['ann', claims.exp])
    })

  it('accepts the algorithm Ed25519 (RFC 9864) if it is chosen', async t => {
    const pair = pairOf('ed25519')
    const text = token(pair, { sub: 'ann' }, { alg: 'Ed25519' })
    assert.equal((await verifier(t, pair.pem, { 'jwt-algorithms': ['Ed25519'] })(text)).claims.sub, 'ann')
    await assert.rejects(verifier(t, pair.pem)(text), refused('wrong algorithm'))
  })

  it('refuses every token that is not signed by the key', async t => {
    const [pair, other] = [pairOf('ed25519'), pairOf('ed25519')]
    const verify = verifier(t, pair.pem)
    const good = token(pair, { sub: 'ann' })
    const [head, claims, signature] = good.split('.') as [string, string, string]
    const hmac = (input: string, key: string) => createHmac('sha256', key).update(input).digest('base64url')
    const hs256 = `${part({ alg: 'HS256' })}.${claims}`
    for (const [text, reason] of [
      [token(other, { sub: 'ann' }), 'bad signature'],
      [`${head}.${part({ sub: 'root', exp: now() + 60 })}.${signature}`, 'bad signature'],
      [`${head}.${claims}.${signature.slice(0, -4)}`, 'bad signature'],
      [`${head}.${claims}.${signature}AAAA`, 'bad signature'],
      [`${head}.${claims}.`, 'bad signature'],
      [`${head}.${claims}`, 'malformed'],
      [`${part({ alg: 'none' })}.${claims}.`, 'wrong algorithm'],
      [`${hs256}.${hmac(hs256, pair.pem)}`, 'wrong algorithm'],
      [`${part({ alg: 'Ed448' })}.${claims}.${signature}`, 'wrong algorithm'],
      [`${part({ alg: 'EdDSA', crit: ['x'] })}.${claims}.${signature}`, 'malformed'],
      [sign({ sub: 'ann' }, { key: rsa().privateKey, algorithm: 'RS256' }), 'wrong algorithm'],
    ] as const)
      await assert.rejects(verify(text), refused(reason), text)
    assert.equal((await verify(good)).claims.sub, 'ann')
  })

  it('checks the claims as with every other algorithm', async t => {
    const pair = pairOf('ed25519')
    const options = { 'jwt-issuer': ['me'], 'jwt-audience': ['chat'], 'jwt-require': ['client_id=abc'] }
    const verify = verifier(t, pair.pem, options)
    const good = { sub: 'ann', iss: 'me', aud: ['chat'], client_id: 'abc' }
    assert.equal((await verify(token(pair, good))).claims.sub, 'ann')
    for (const [claims, reason] of [
      [{ exp: now() - 60 }, 'expired'],
      [{ exp: undefined }, 'no expiry'],
      [{ exp: 'soon' }, 'malformed'],
      [{ nbf: now() + 60 }, 'not yet valid'],
      [{ iat: now() + 60 }, 'not yet valid'],
      [{ iss: 'you' }, 'wrong issuer'],
      [{ aud: 'mail' }, 'wrong audience'],
      [{ client_id: 'def' }, 'wrong claim'],
    ] as const)
      await assert.rejects(verify(token(pair, { ...good, ...claims })), refused(reason), JSON.stringify(claims))
    const aged = verifier(t, pair.pem, { 'jwt-max-age': 10 })
    await assert.rejects(aged(token(pair, { iat: now() - 60 })), refused('expired'))
  })

  it('admits a client of a JWKS by default, and needs a key of that type', async () => {
    const pair = pairOf('ed25519')
    const keys = new RemoteKeys(
      new URL(
        `data:application/json,${encodeURIComponent(JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'a' }] }))}`,
      ),
      { warn: error => assert.fail(String(error)) },
    )
    assert.ok((await keys.find({ kid: 'a', alg: 'EdDSA' })).equals(pair.publicKey))
    await assert.rejects(keys.find({ kid: 'a', alg: 'RS256' }), refused('unknown key'))
    await assert.rejects(keys.find({ kid: 'a', alg: 'Ed448' }), refused('unknown key'))
  })

  it('admits a client of a server', async t => {
    const pair = pairOf('ed25519')
    const cwd = folder(t, { 'key.pem': pair.pem })
    const server = await startTestServer(t, ['jwt', 'echo'], { 'jwt-public-key': `${cwd}/key.pem` })
    const bearer = (text: string) => ({ headers: { authorization: `Bearer ${text}` } })
    const { client } = await server.connect(bearer(token(pair, { sub: 'ann' })))
    assert.equal(client.identity, 'ann')
    await assert.rejects(server.connect(bearer(token(pairOf('ed25519'), { sub: 'ann' }))), /401: .*bad signature/)
  })
})
