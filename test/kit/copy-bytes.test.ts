import assert from 'node:assert/strict'
import { it } from 'node:test'
import { copyBytes } from '../../src/kit/copy-bytes.ts'

it('copies bytes to memory that holds nothing else', () => {
  const whole = Buffer.from('abcdefgh')
  for (const part of [whole.subarray(2, 5), new Uint8Array(whole.subarray(2, 5)), whole.subarray(4, 4)]) {
    const copy = copyBytes(part)
    assert.deepEqual([...copy], [...part])
    assert.equal(copy.buffer.byteLength, part.length)
  }
})
