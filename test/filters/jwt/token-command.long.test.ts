import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync, verify } from 'node:crypto'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import jwt from 'jsonwebtoken'
import { built, folder, launch, refusal, run } from '../../support/cli.ts'
import { ec, rsa, SECRET, sign } from '../../support/tokens.ts'
import { upgrade } from '../../support/upgrade.ts'

const env = { FWS_JWT_SECRET: SECRET }
const now = () => Math.floor(Date.now() / 1000)

/** Output of the command, without the final newline. */
async function printed(argv: readonly string[], where: Parameters<typeof run>[1] = {}): Promise<string> {
  const { code, stdout, stderr } = await run(['token', ...argv], where)
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  return stdout.slice(0, -1)
}

/** The error of a refused token: exit 1, no standard output. */
async function refusedWith(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['token', ...argv], { env })
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' }, stderr)
  return stderr
}

describe('fws-server token', () => {
  it('signs a token that the server accepts', async t => {
    const argv = ['--sub', 'ann', '--claim', 'role=admin', 'level=3', 'rooms=["a"]', 'zip=007']
    const expected = ['--jwt-issuer', 'me', '--jwt-audience', 'chat']
    const token = await printed([...argv, ...expected, '--expires', '60'], { env })
    const { exp, iat, ...claims } = jwt.verify(token, SECRET) as jwt.JwtPayload
    assert.deepEqual(claims, { sub: 'ann', iss: 'me', aud: 'chat', role: 'admin', level: 3, rooms: ['a'], zip: '007' })
    assert.equal(exp! - iat!, 60)
    const server = await launch(t, ['-p', '0', '-f', 'jwt', 'echo', ...expected], { env })
    const { status } = await upgrade(server.url, { headers: { authorization: `Bearer ${token}` } })
    assert.equal(status, 101)
  })

  it('reads the options of the filter like the server: a secret file, a config file, a place in the chain', async t => {
    const cwd = folder(t, {
      secret: `${SECRET}\n`,
      'my.json': '{ "port": 9, "filters": [["jwt", { "issuer": "placed" }], "echo"], "jwt-audience": ["beside"] }',
    })
    const token = await printed(['--sub', 'ann', '-c', 'my.json'], {
      cwd,
      env: { FWS_JWT_SECRET_FILE: `${cwd}/secret` },
    })
    const { iss, aud } = jwt.verify(token, SECRET) as jwt.JwtPayload
    assert.deepEqual({ iss, aud }, { iss: 'placed', aud: 'beside' })
  })

  it('signs with a private key, by the algorithm that fits it', async t => {
    const [one, two] = [rsa(), ec('P-384')]
    const cwd = folder(t, { 'rsa.pem': one.privatePem, 'ec.pem': two.privatePem, 'rsa.pub': one.pem })
    const signed = await printed(['--private-key', 'rsa.pem', '--kid', 'a'], { cwd })
    assert.deepEqual(jwt.decode(signed, { complete: true })?.header, { alg: 'RS256', typ: 'JWT', kid: 'a' })
    assert.match(await printed(['--check', signed, '--jwt-public-key', 'rsa.pub'], { cwd }), /"exp": \d+/)
    const curved = await printed(['--private-key', 'ec.pem'], { cwd })
    assert.equal(jwt.decode(curved, { complete: true })?.header.alg, 'ES384')
    assert.match(
      await refusal(['token', '--private-key', 'rsa.pub'], { cwd }),
      /rsa\.pub holds a public key, not a private key$/,
    )
    assert.match(
      await refusal(['token', '--private-key', 'rsa.pem', '--jwt-algorithms', 'none'], { cwd }),
      /"none" is not/,
    )
  })

  it('signs with Ed25519, and adds the claims that --jwt-require names', async t => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const cwd = folder(t, {
      'ed.pem': String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
      'ed.pub': String(publicKey.export({ type: 'spki', format: 'pem' })),
    })
    const required = ['--jwt-require', 'client_id=web,mobile', 'realm_access.roles=admin']
    const signed = await printed(['--sub', 'ann', '--private-key', 'ed.pem', '--kid', 'a', ...required], { cwd })
    assert.deepEqual(jwt.decode(signed, { complete: true })?.header, { alg: 'EdDSA', typ: 'JWT', kid: 'a' })
    const [head, claims, signature] = signed.split('.')
    assert.ok(verify(null, Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature!, 'base64url')))
    const text = await printed(['--check', signed, '--jwt-public-key', 'ed.pub', ...required], { cwd })
    const { exp, iat, ...rest } = JSON.parse(text)
    assert.deepEqual(rest, { client_id: 'web', 'realm_access.roles': 'admin', sub: 'ann' })
    assert.equal(exp - iat, 3600)
  })

  it('checks a token: its claims, or why it is refused', async () => {
    const exp = now() + 60
    const token = sign({ sub: 'ann', iat: exp - 60, exp })
    for (const text of [token, `Bearer ${token}`])
      assert.deepEqual(JSON.parse(await printed(['--check', text], { env })), { sub: 'ann', iat: exp - 60, exp })
    assert.equal(await refusedWith(['--check', sign({ exp: now() - 60 })]), 'fws-server: token refused: expired\n')
    assert.equal(
      await refusedWith(['--check', token, '--jwt-audience', 'chat']),
      'fws-server: token refused: wrong audience\n',
    )
  })

  it('reports why the keys of a URL are unavailable', async () => {
    const token = sign({}, { key: rsa().privateKey, algorithm: 'RS256' })
    const url = ['--jwt-jwks-url', 'http://127.0.0.1:1/keys']
    const { code, stderr } = await run(['token', '--check', token, ...url])
    assert.deepEqual(
      { code, stderr },
      { code: 1, stderr: 'fws-server: token refused: key unavailable: fetch failed\n' },
    )
  })

  it('reads a token from standard input', async () => {
    const child = spawn(process.execPath, [...built, 'token', '--check', '-'], {
      env: { PATH: process.env.PATH, ...env },
    })
    let stdout = ''
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    child.stdin.end(`${sign({ sub: 'ann' })}\n`)
    const [code] = await once(child, 'close')
    assert.equal(code, 0)
    assert.equal(JSON.parse(stdout).sub, 'ann')
  })

  it('refuses invalid arguments in one sentence without secrets', async () => {
    for (const [argv, sentence] of [
      [[], 'set one of --jwt-secret and --private-key, received none'],
      [['--jwt-secret', 'hunter2'], '--jwt-secret has 7 bytes; HS256 needs 32 or more (RFC 7518, section 3.2)'],
      [['--check', '--jwt-secret', SECRET], '--check needs a token, or - to read it from standard input'],
      [
        ['ann', '--jwt-secret', SECRET],
        'unexpected word; put a token after --check, and quote values that have spaces',
      ],
      [['--claim', 'admin', '--jwt-secret', SECRET], '--claim takes NAME=VALUE, received a value without "="'],
      [['--claim', 'exp=soon', '--jwt-secret', SECRET], 'cannot sign the token: "exp" should be a number of seconds'],
      [['--subject', 'ann'], 'unknown option --subject'],
      [['--expires', '0'], '--expires takes a whole number of at least 1, received "0"'],
    ] as const)
      assert.equal(await refusal(['token', ...argv]), sentence)
  })

  it('has its own help, and is not a filter', async () => {
    const help = await printed(['--help'])
    assert.match(help, /^fws-server token \[--sub NAME\]/)
    for (const option of ['--check', '--private-key', '--jwt-secret', '--config'])
      assert.ok(help.includes(option), option)
    assert.doesNotMatch(help, /--port/)
    assert.equal(await refusal(['tokens']), 'unknown command "tokens"; did you mean "token"?')
  })

  it('prints neither a token nor a key in the wrong place', async t => {
    const pem = '-----BEGIN PRIVATE KEY-----\nMIIhidden\n-----END PRIVATE KEY-----'
    const cwd = folder(t)
    for (const args of [['--check=aaa.hidden.ccc'], [`--private-key=${pem}`]]) {
      const { code, stdout, stderr } = await run(['token', ...args, '--jwt-secret', 'x'.repeat(32)], { cwd })
      assert.equal(code, 2)
      assert.doesNotMatch(stdout + stderr, /hidden/)
    }
    const served = await run(['-f', 'jwt', 'echo'], { cwd, env: { FWS_JWT_PUBLIC_KEY: pem } })
    assert.equal(served.code, 2)
    assert.match(served.stderr, /FWS_JWT_PUBLIC_KEY takes a path, received a string with several lines/)
    assert.doesNotMatch(served.stderr, /hidden/)
  })
})
