import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Clock } from '../../../filters/clock/clock.ts'

/** Asserts that a clock is `ahead` seconds fast, whatever the time of its reading. */
function assertNow(read: () => number, ahead = 0, now = Date.now): void {
  const before = now() / 1000 + ahead
  const seconds = read()
  const after = now() / 1000 + ahead
  assert.ok(seconds > before - 0.01 && seconds < after + 0.01, `${seconds} is not from ${before} to ${after}`)
}

describe('the clock of a server', () => {
  it('is the clock of the system, finer than a millisecond', () => {
    const clock = new Clock()
    const fractions = new Set<number>()
    for (let i = 0; i < 1000; i++) {
      const before = Date.now()
      const seconds = clock.now
      const after = Date.now()
      assert.ok(seconds * 1000 >= before - 0.01 && seconds * 1000 <= after + 1.01, `${seconds} ${before} ${after}`)
      fractions.add(Math.floor((seconds * 1e6) % 1000))
    }
    assert.ok(fractions.size > 10, `${fractions.size} kinds of microseconds`)
  })

  it('follows when the clock of the system is set, forward and back', t => {
    const clock = new Clock()
    const { now } = Date
    for (const seconds of [3600, -86_400, 0.5]) {
      t.mock.method(Date, 'now', () => now() + seconds * 1000)
      assertNow(() => clock.now, seconds, now)
      t.mock.restoreAll()
    }
    assertNow(() => clock.now)
  })

  it('is not changed by a pause of the process during a reading', t => {
    const [clock, other] = [new Clock(), new Clock()]
    const { now } = Date
    const pause = () => {
      const end = performance.now() + 5
      while (performance.now() < end);
      return now()
    }
    t.mock.method(Date, 'now', pause)
    for (let i = 0; i < 3; i++) void clock.system
    t.mock.restoreAll()
    const apart = Math.min(...Array.from({ length: 10 }, () => Math.abs(clock.system - other.system)))
    assert.ok(apart < 0.0002, `${apart}`)
  })

  it('does not wait for a clock that stands still', t => {
    t.mock.method(Date, 'now', () => 1_000_000)
    const clock = new Clock()
    assert.ok(Math.abs(clock.now - 1000) < 0.01)
  })

  it('is corrected', () => {
    const clock = new Clock()
    clock.correct(-2.5)
    assertNow(() => clock.now, -2.5)
    assertNow(() => clock.system)
  })
})
