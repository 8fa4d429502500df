import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { weightOf } from '../../../filters/wslink/weight.ts'

describe('the weight of a message', () => {
  it('is that of its places and its objects, however deep', () => {
    assert.equal(weightOf([]), 96)
    assert.equal(weightOf([1, 'two', null]), 96 + 3 * 32)
    assert.equal(weightOf({ a: [{}], b: Buffer.alloc(1000) }), 4 * 96 + 3 * 32)
    assert.equal(weightOf(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))), 100_000 * 96 + 99_999 * 32)
  })
})
