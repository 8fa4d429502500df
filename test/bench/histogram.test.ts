import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { Histogram } from '../../bench/histogram.ts'

it('percentiles are exact below 128 and at most 1.6% too high above', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 127 }), fc.integer({ min: 0, max: 2 ** 31 - 1 })), { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, share) => {
        const histogram = new Histogram()
        for (const value of values) histogram.record(value)
        const exact = values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(values.length * share)) - 1]!
        const found = histogram.percentile(share)
        assert.ok(found >= exact && found <= (exact < 128 ? exact : exact * (1 + 1 / 64)), `${found} for ${exact}`)
      },
    ),
  )
})

it('what is out of range counts at its end, and nothing recorded has no percentile', () => {
  const histogram = new Histogram()
  assert.ok(Number.isNaN(histogram.percentile(0.5)))
  histogram.record(-1)
  histogram.record(1e12)
  assert.deepEqual(
    [histogram.percentile(0), histogram.percentile(1), histogram.max, histogram.count],
    [0, 2 ** 31 - 1, 2 ** 31 - 1, 2],
  )
})
