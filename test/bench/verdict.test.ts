import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { failuresOf, slopeOf } from '../../bench/verdict.ts'

/** Nine samples, a minute apart, of this many KiB. */
const samples = (kib: (minute: number) => number) => Array.from({ length: 9 }, (_, at) => ({ at, rss: 1024 * kib(at) }))

describe('the verdict of a soak', () => {
  const slopes: Readonly<Record<string, readonly [kib: (minute: number) => number, slope: number]>> = {
    'no growth': [() => 80_000, 0],
    'steady growth': [minute => 80_000 + 700 * minute, 700],
    'growth that ends in the first third': [minute => (minute < 3 ? 10_000 * minute : 80_000), 0],
    'growth that begins after the first third': [minute => 80_000 + 100 * Math.max(0, minute - 3), 100],
    shrinking: [minute => 80_000 - 50 * minute, -50],
    'a peak in the middle of the last two thirds': [minute => (minute === 5 || minute === 6 ? 90_000 : 80_000), 0],
  }
  for (const [name, [kib, slope]] of Object.entries(slopes)) {
    it(`has the slope of the last two thirds: ${name}`, () => {
      assert.ok(Math.abs(slopeOf(samples(kib)) - slope) < 1e-6)
    })
  }

  it('has no slope with one sample or none', () => {
    assert.deepEqual([slopeOf([]), slopeOf([{ at: 0, rss: 1 }])], [Number.NaN, Number.NaN])
  })

  const good = { slope: 512, limit: 512, left: 0 }
  const verdicts: Readonly<Record<string, readonly [Parameters<typeof failuresOf>[0], readonly string[]]>> = {
    'growth at the limit': [good, []],
    'shrinking memory': [{ ...good, slope: -3000 }, []],
    'growth above the limit': [{ ...good, slope: 512.6 }, ['RSS grows by 513 KiB/minute, more than --limit 512']],
    'clients left': [{ ...good, left: 2 }, ['the server counts 2 clients after all have gone']],
    both: [
      { ...good, slope: 9000, left: 1 },
      ['RSS grows by 9000 KiB/minute, more than --limit 512', 'the server counts 1 clients after all have gone'],
    ],
    'a death, whatever else': [{ slope: 9000, limit: 512, left: 3, died: 'the server exited' }, ['the server exited']],
  }
  for (const [name, [outcome, failures]] of Object.entries(verdicts)) {
    it(`is ${failures.length === 0 ? 'good' : 'bad'}: ${name}`, () => {
      assert.deepEqual(failuresOf(outcome), failures)
    })
  }
})
