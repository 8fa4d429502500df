import assert from 'node:assert/strict'
import { it } from 'node:test'
import { newEpoch } from '../../src/kit/new-epoch.ts'

it('is 12 hexadecimal digits, which differ', () => {
  const epochs = Array.from({ length: 10_000 }, newEpoch)
  for (const epoch of epochs) assert.match(epoch, /^[0-9a-f]{12}$/)
  assert.equal(new Set(epochs).size, epochs.length)
})
