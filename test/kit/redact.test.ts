import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import jwt from 'jsonwebtoken'
import { mayHoldSecret, redactor } from '../../src/kit/redact.ts'

const TOKEN = jwt.sign({ sub: 'ann' }, 'a-secret-of-32-characters-or-more')
const SHORT = TOKEN.split('.').slice(0, 2).join('.')

describe('redactor', () => {
  const redact = redactor(['iban', 'card-number', 'a.b'])

  const unchanged = [
    '',
    'hello, world',
    '{"text":"hello",  "n":1.50}',
    '["token","x"]',
    '"text"',
    '{"auth":true,"token":null,"password":""}',
    '{"author":"ann","sidebar":"open"}',
    '{"a":',
    'a: b, c = d',
    '[200,{"tokens":null,"auth":true,"n":NaN}]',
    'eyJ is the start of a token, eyJab not yet',
    '['.repeat(200),
  ]
  for (const text of unchanged) {
    it(`returns text without secrets as it came: ${text.slice(0, 50)}`, () => assert.equal(redact(text), text))
  }

  const redacted: readonly (readonly [text: string, expected: string])[] = [
    ['{"auth":"x"}', '{"auth":"[redacted]"}'],
    ['{"auth":{"user":"ann","pin":1}}', '{"auth":"[redacted]"}'],
    ['{"Access_Token":"x","n":1}', '{"Access_Token":"[redacted]","n":1}'],
    ['{"password":12,"user-password":["x"]}', '{"password":"[redacted]","user-password":"[redacted]"}'],
    ['{"a":[{"b":{"secret":"x"}}]}', '{"a":[{"b":{"secret":"[redacted]"}}]}'],
    ['{"my token":"x"}', '{"my token":"[redacted]"}'],
    ['{"IBAN":"x","cardnumber":"y","a.b":"z"}', '{"IBAN":"[redacted]","cardnumber":"[redacted]","a.b":"[redacted]"}'],
    ['{"url":"https://x/?n=1&token=abc&m=2"}', '{"url":"https://x/?n=1&token=[redacted]&m=2"}'],
    [
      JSON.stringify({ data: JSON.stringify({ apiKey: 'x', n: 1 }) }),
      JSON.stringify({ data: '{"apiKey":"[redacted]","n":1}' }),
    ],
    [`{"note":"use ${TOKEN} now"}`, '{"note":"use [redacted] now"}'],
    [`"${TOKEN}"`, '"[redacted]"'],
    ['{"connect":{"token":"x"},"id":1}\n{"id":2}', '{"connect":{"token":"[redacted]"},"id":1}\n{"id":2}'],
    [`hello ${TOKEN}`, 'hello [redacted]'],
    [`hello ${SHORT}`, 'hello [redacted]'],
    ['Authorization: Bearer abc', 'Authorization: [redacted] [redacted]'],
    ['basic YTpi and Bearer a.b-c', 'basic [redacted] and Bearer [redacted]'],
    ['login?user=ann&pwd=x&card_number=1', 'login?user=ann&pwd=[redacted]&card_number=[redacted]'],
    ['{"user":"ann","pass":"x"}', '{"user":"ann","pass":"[redacted]"}'],
    ['/?password=a,b;c)d&m=2#x', '/?password=[redacted]&m=2#x'],
    ['/?user%5Bpassword%5D=x&auth[name]=ann', '/?user%5Bpassword%5D=[redacted]&auth[name]=[redacted]'],
    ['/?a%73=1&api%5Fkey=x&%zz=1', '/?a%73=1&api%5Fkey=[redacted]&%zz=1'],
    ['{"token":"x","token":null}', '{"token":null}'],
    ['{"a": {"token":"x"}, "a":1}', '{"a":1}'],
    [`jwt-${TOKEN}`, 'jwt-[redacted]'],
    ['42["login",{"token":"x","n":1}]', '42["login",{"token":"[redacted]","n":1}]'],
    ['{"passwords":["x","y"],"n":NaN}', '{"passwords":[redacted],"n":NaN}'],
    ['{"auth":{"pin":"x"},"n":NaN}', '{"auth":[redacted],"n":NaN}'],
    ['{"n":NaN}\n{"token":"x"}\ntoken: y', '{"n":NaN}\n{"token":"[redacted]"}\ntoken: [redacted]'],
    ['{"auth":"x', '{"auth":"[redacted]"'],
    [`{"password":"a b\\"c","n":`, '{"password":"[redacted]","n":'],
    [`{'secret': 'a b'}`, `{'secret': '[redacted]'}`],
    ['say \\"token\\":\\"abc\\" twice', 'say \\"token\\":\\"[redacted]\\"'],
    [`${'['.repeat(200)}{"jwt":"x"}`, `${'['.repeat(200)}{"jwt":"[redacted]"}`],
  ]
  for (const [text, expected] of redacted) {
    it(`redacts ${text.slice(0, 60)}`, () => {
      assert.equal(redact(text), expected)
      assert.equal(redact(expected), expected, 'a second time changes nothing')
    })
  }

  it('takes milliseconds for 300 KB, whatever they are, in one or in many messages', () => {
    const size = 300_000
    const pieces = [
      'a',
      '-eyJ',
      'eyJa.',
      'eyJ',
      'token',
      'token=',
      '?token=',
      '"token":"',
      'bearer  ',
      '{"a":',
      '\\',
      '\n',
    ]
    const lines = ['{\n', '[\n', '"\n', '{}\n', '{"token":"x"}\n']
    const texts = [...pieces, ...lines].map(piece => piece.repeat(size / piece.length))
    for (const text of [...texts, JSON.stringify(Array(size / 20).fill('{\n{\n{\n'))]) {
      for (const count of [1, 300]) {
        const message = text.slice(0, text.length / count)
        const start = process.cpuUsage()
        for (let i = 0; i < count; i++) redact(message)
        const { user } = process.cpuUsage(start)
        assert.ok(user < 600_000, `${user} µs for ${count} of ${JSON.stringify(text.slice(0, 20))}`)
      }
    }
  })
})

describe('mayHoldSecret', () => {
  const isSecret = mayHoldSecret(['iban'])

  for (const [bytes, expected] of [
    ['\xa5token\xa1x', true],
    ['\xa4auth\xa1x', true],
    ['\xa4IBAN\xa1x', true],
    ['{"pwd":"x"}', true],
    ['{"author":"x","eyj":"sid"}', false],
    ['eyJ sid JWT', false],
    [TOKEN, true],
    ['', false],
  ] as const)
    it(`is ${expected} for ${JSON.stringify(bytes.slice(0, 30))}`, () => {
      assert.equal(isSecret(Buffer.from(bytes, 'latin1')), expected)
    })
})
