import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readPattern, topicParts } from '../../src/kit/pattern.ts'
import { visible } from '../../src/kit/visible.ts'
import { cheap } from '../support/cpu.ts'

describe('pattern', () => {
  for (const [pattern, topic, expected] of [
    ['chat/*', 'chat/one', true],
    ['chat/*', 'chat/', true],
    ['chat/*', 'chat', false],
    ['chat/*', 'chat/one/two', false],
    ['chat/**', 'chat/one/two', true],
    ['chat/**', 'chat', false],
    ['**', 'anything/at/all', true],
    ['*', 'a/b', false],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'a1b2c', true],
    ['a*b*c', 'acb', false],
    ['a*a', 'a', false],
    ['*ab*ab', 'ab', false],
    ['.*', 'xx', false],
    ['user/{sub}', 'user/ann', true],
    ['user/{sub}', 'user/bob', false],
    ['user/{sub}-*', 'user/ann-1', true],
    ['user/{team}', 'user/red*', true],
    ['user/{team}', 'user/redish', false],
    ['user/{path}/**', 'user/a/b/c', false],
    ['user/{empty}', 'user/', false],
    ['user/{missing}', 'user/undefined', false],
    ['org/{org.id}/**', 'org/7/chat', true],
    ['org/{org.id}/**', 'org/8/chat', false],
    ['org/{org}/**', 'org/[object Object]/chat', false],
    ['user/{list}', 'user/x', false],
    ['user/{https://ex.com/team}', 'user/blue', true],
    ['user/{a*b}', 'user/star', true],
    ['user/{__proto__}', 'user/[object Object]', false],
    ['*', '@everyone', false],
    ['**', '@presence/chat', false],
    ['{at}', '@everyone', false],
    ['{at}/**', '@everyone/x', false],
    ['@presence/*', '@presence/chat', true],
    ['@*', '@everyone', true],
    ['a/*', 'a/@b', true],
    ['**', '', true],
    ['*', 'a\0b', true],
    ['*', 'a{b}', true],
    ['**', 'x'.repeat(1024), true],
    ['**', 'x'.repeat(1025), false],
    ['**', 'x/'.repeat(5000), false],
  ] as const)
    it(`${pattern} ${expected ? 'matches' : 'does not match'} ${visible(topic).slice(0, 40)}`, () => {
      const claims = {
        sub: 'ann',
        team: 'red*',
        path: 'a/b',
        empty: '',
        list: ['x'],
        'https://ex.com/team': 'blue',
        'a*b': 'star',
        at: '@everyone',
        org: { id: 7 },
      }
      assert.equal(readPattern(pattern)(topicParts(topic), claims), expected)
    })

  it('without claims no {claim} matches', () => {
    assert.equal(readPattern('user/{sub}')(topicParts('user/ann')), false)
  })

  for (const [pattern, why] of [
    ['a/**/b', '"**" is only valid as the last part, received "a/**/b"'],
    ['a**b', '"**" is only valid as the last part, received "a**b"'],
    ['user/{sub', '"user/{sub" has a brace without {CLAIM}'],
    ['user/{}', '"user/{}" has a brace without {CLAIM}'],
    ['user/sub}', '"user/sub}" has a brace without {CLAIM}'],
  ] as const)
    it(`refuses ${pattern}`, () => {
      assert.throws(() => readPattern(pattern), { message: why })
    })

  it('matches malicious topics in bounded time', () => {
    for (const pattern of [`${'*ab'.repeat(300)}*c*`, `${'*/'.repeat(500)}x`])
      for (const topic of ['a'.repeat(1024), 'ab'.repeat(512), '/'.repeat(1024)])
        assert.equal(
          cheap(() => readPattern(pattern)(topicParts(topic)), topic.slice(0, 2)),
          false,
        )
  })
})
