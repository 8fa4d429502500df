import assert from 'node:assert/strict'
import { it } from 'node:test'
import { globOf, matches } from '../../../../filters/messaging/rpc/glob.ts'

const cases: readonly (readonly [pattern: string, yes: readonly string[], no: readonly string[]])[] = [
  ['*', ['', 'copter1'], []],
  ['copter?', ['copter1'], ['copter', 'copter12']],
  ['copter*', ['copter', 'copter12'], ['acopter']],
  ['*1*3', ['13', 'a1b2c3', '1133'], ['134', '31']],
  ['a.b', ['a.b'], ['axb']],
  ['[ab]', ['[ab]'], ['a']],
  ['', [''], ['a']],
]
for (const [pattern, yes, no] of cases) {
  it(`${JSON.stringify(pattern)} matches ${yes.join(' ')}, not ${no.join(' ')}`, () => {
    assert.deepEqual(
      [yes.every(text => matches(pattern, text)), no.some(text => matches(pattern, text))],
      [true, false],
    )
  })
}

it('takes few steps with any number of stars', () => {
  assert.equal(matches('*a'.repeat(1000), `${'a'.repeat(5000)}b`), false)
})

it('reduces stars in a row to one', () => {
  assert.deepEqual(['a**b***', '*'.repeat(1_000_000), 'a*?*'].map(globOf), ['a*b*', '*', 'a*?*'])
})
