import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '../../../client/messaging/sha256.ts'

const expected = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

it('the hash of any bytes is that of node:crypto, however they are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), pieces => {
      const hash = sha256()
      for (const piece of pieces) hash.update(piece)
      assert.equal(hash.digest('hex'), expected(Buffer.concat(pieces)))
    }),
    { numRuns: 500 },
  )
})

it('the hash of every length around the end of a block is right', () => {
  for (let length = 0; length <= 200; length++) {
    const bytes = new Uint8Array(length).fill(length)
    const hash = sha256()
    hash.update(bytes)
    assert.equal(hash.digest('hex'), expected(bytes), `${length} bytes`)
  }
})
