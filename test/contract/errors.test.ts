import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { messageOf, shown } from '../../src/contract/errors.ts'

describe('the message of a thrown value', () => {
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const mute = Object.defineProperty(new Error(), 'message', {
    get() {
      throw new Error('no')
    },
  })
  for (const [what, thrown, text] of [
    ['an Error', new Error('no luck'), 'no luck'],
    ['a string', 'no luck', 'no luck'],
    ['undefined', undefined, 'undefined'],
    ['a symbol', Symbol('no'), 'Symbol(no)'],
    ['an object without a prototype', Object.create(null), 'a value that cannot be shown'],
    ['a revoked proxy', revoked.proxy, 'a value that cannot be shown'],
    ['an Error whose message throws', mute, 'a value that cannot be shown'],
    ['an Error whose message is no text', Object.assign(new Error(), { message: 5 }), '5'],
  ] as const) {
    it(`is read from ${what}`, () => assert.equal(messageOf(thrown), text))
  }

  it('shown formats a value as JSON', () => {
    const circle: unknown[] = []
    circle.push(circle)
    assert.deepEqual(['text', 5, null, undefined, 5n, [1]].map(shown), ['"text"', '5', 'null', 'undefined', '5', '[1]'])
    assert.equal(shown(Object.assign(circle, { toString: () => 'a circle' })), 'a circle')
  })
})
