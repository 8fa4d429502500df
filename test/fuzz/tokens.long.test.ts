// Random tokens, in every place that may hold one, against the command as it is shipped. jazzer.js would not guide them: what checks
// signatures is OpenSSL, which it cannot instrument.
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
/** Seconds by which clocks may differ. */
const TOLERANCE = 5
const EVERYWHERE = ['--jwt-cookie', 'token', '--jwt-query', '--jwt-first-message']
const GOOD = sign({ sub: 'ann', exp: 4_102_444_800 })

const json = fc.json({ maxDepth: 2 })
/** Signed with the right key, whatever it says: claims of any shape. */
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

/** Where the token goes; what a header cannot hold is taken out, as sending it would test the parser of HTTP. */
const place = fc.constantFrom<(text: string) => Conversation['writes']>(
  text => [goodHandshake({ Authorization: `Bearer ${text}` })],
  text => [goodHandshake({ 'Sec-WebSocket-Protocol': `bearer, ${text}` })],
  text => [goodHandshake({ Cookie: `a=b; token=${text}` })],
  text => [
    Buffer.from(
      goodHandshake()
        .toString()
        .replace(' / ', ` /?token=${encodeURIComponent(text)} `),
    ),
  ],
  text => [goodHandshake(), frame(TEXT, JSON.stringify({ auth: text }))],
)

const conversations = fc.tuple(token, place).map(([text, put]) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that a header cannot hold
  const sent = text.replace(/[\x00-\x1f\x7f-\uffff]/g, '')
  return { writes: [...put(sent), frame(TEXT, 'am I in?')], ends: true, token: sent }
})

it(`${COUNT} random tokens let nobody in whom a good one would not, and leave nothing behind`, {
  timeout: 120_000,
}, async t => {
  let letIn = 0
  await fuzzConnections(t, {
    targets: [[...watchedArgv('jwt'), 'echo', ...EVERYWHERE, '--jwt-secret', SECRET]],
    welcome: { headers: { Authorization: `Bearer ${GOOD}` } },
    conversations,
    count: COUNT,
    // Each has a token of its own, which a seed brings back.
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

/** Worked out without the library. */
function isGood(text: string): boolean {
  const [head = '', claims = '', signature = ''] = text.split('.')
  const wanted = createHmac('sha256', SECRET).update(`${head}.${claims}`).digest()
  const { alg } = JSON.parse(Buffer.from(head, 'base64url').toString())
  const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString())
  return alg === 'HS256' && exp > Date.now() / 1000 - TOLERANCE && wanted.equals(Buffer.from(signature, 'base64url'))
}
