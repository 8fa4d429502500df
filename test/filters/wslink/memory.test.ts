import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { memoryOf } from '../../../filters/wslink/memory.ts'

describe('the memory of a message', () => {
  it('is the sum of its elements and objects at any depth', () => {
    assert.equal(memoryOf([]), 96)
    assert.equal(memoryOf([1, 'two', null]), 96 + 3 * 32)
    assert.equal(memoryOf({ a: [{}], b: Buffer.alloc(1000) }), 4 * 96 + 3 * 32)
    assert.equal(memoryOf(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))), 100_000 * 96 + 99_999 * 32)
  })
})
