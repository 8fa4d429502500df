// Random tokens in all places of a handshake, against the built command. Without jazzer.js: it cannot instrument OpenSSL.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { it } from 'node:test'
import fc from 'fast-check'
import { frame, TEXT } from '../support/frames.ts'
import { watchedArgv } from '../support/resources.ts'
import { forgeSigned, SECRET, sign } from '../support/tokens.ts'
import { type Conversation, fuzzConnections, goodHandshake } from './connections.ts'
import { mutated } from './mutations.ts'

const COUNT = 10_000
/** Tolerated difference of clocks, seconds. */
const TOLERANCE = 5
const EVERYWHERE = ['--jwt-cookie', 'token', '--jwt-query', '--jwt-first-message']
const GOOD = sign({ sub: 'ann', exp: 4_102_444_800 })

const json = fc.json({ maxDepth: 2 })
/** Any claims, with a valid signature. */
const strange = fc.oneof(
  json,
  fc
    .dictionary(
      fc.constantFrom('sub', 'iss', 'aud', 'jti', 'exp', 'nbf', 'iat', '__proto__'),
      fc.jsonValue({ maxDepth: 1 }),
    )
    .map(claims => JSON.stringify(claims)),
)
const token = fc.oneof(
  mutated(fc.constant(Buffer.from(GOOD))).map(bytes => bytes.toString('latin1')),
  fc
    .tuple(
      strange,
      fc.dictionary(fc.constantFrom('alg', 'kid', 'crit', 'jwk', 'x5u', 'typ'), fc.jsonValue({ maxDepth: 1 })),
    )
    .map(([claims, header]) => forgeSigned(claims, header)),
  fc.array(fc.base64String({ maxLength: 40 }), { maxLength: 5 }).map(parts => parts.join('.')),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.nat(12_000).map(length => 'e'.repeat(length)),
)

/** A request with the text as token, and the token that a server must read from it. */
interface Placed {
  readonly writes: Conversation['writes']
  readonly token: string
}

const place = fc.constantFrom<(text: string) => Placed>(
  text => ({ writes: [goodHandshake({ Authorization: `Bearer ${text}` })], token: text }),
  text => ({
    writes: [goodHandshake({ 'Sec-WebSocket-Protocol': `bearer, ${text}` })],
    // Empty elements of a list are ignored (RFC 9110 section 5.6.1.2).
    token: text.split(',').find(element => element.trim() !== '') ?? '',
  }),
  text => ({ writes: [goodHandshake({ Cookie: `a=b; token=${text}` })], token: text.split(';')[0]! }),
  text => ({
    writes: [
      Buffer.from(
        goodHandshake()
          .toString()
          .replace(' / ', ` /?token=${encodeURIComponent(text)} `),
      ),
    ],
    token: text,
  }),
  text => ({ writes: [goodHandshake(), frame(TEXT, JSON.stringify({ auth: text }))], token: text }),
)

const conversations = fc.tuple(token, place).map(([text, put]) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are not valid in a header
  const { writes, token } = put(text.replace(/[\x00-\x1f\x7f-\uffff]/g, ''))
  return { writes: [...writes, frame(TEXT, 'am I in?')], ends: true, token }
})

it(`${COUNT} random tokens are admitted only if they are valid, and release all resources`, {
  timeout: 280_000,
}, async t => {
  let letIn = 0
  await fuzzConnections(t, {
    targets: [[...watchedArgv('jwt'), 'echo', ...EVERYWHERE, '--jwt-secret', SECRET]],
    welcome: { headers: { Authorization: `Bearer ${GOOD}` } },
    conversations,
    count: COUNT,
    // Each has its own token, which a seed reproduces.
    kept: [],
    check: (answer, { token }) => {
      const text = answer.toString('latin1')
      assert.match(text, /^(?:HTTP\/1\.1 [1-5]\d\d [A-Z]|$)/)
      if (!text.includes('am I in?')) return
      letIn++
      assert.ok(isGood(token.trim()), `let in with ${token}`)
    },
  })
  assert.ok(letIn > COUNT / 100, `${letIn} good tokens were let in`)
})

/** Computed without the library. */
function isGood(text: string): boolean {
  const [head = '', claims = '', signature = ''] = text.split('.')
  const wanted = createHmac('sha256', SECRET).update(`${head}.${claims}`).digest()
  const { alg } = JSON.parse(Buffer.from(head, 'base64url').toString())
  const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString())
  return alg === 'HS256' && exp > Date.now() / 1000 - TOLERANCE && wanted.equals(Buffer.from(signature, 'base64url'))
}
