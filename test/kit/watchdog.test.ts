import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Watchdog } from '../../src/kit/watchdog.ts'

describe('a watchdog', () => {
  for (const [name, least, steps, stalls] of [
    ['without progress', 10, [0, 0], [1000]],
    ['with progress in each period', 10, [10, 10, 10, 0, 0], [1750]],
    ['with progress in small steps', 10, [4, 4, 4, 4, 4, 4, 0], [2500]],
    ['with too little progress', 10, [9, 0, 0], [1000]],
    ['with much progress once', 10, [1000, 0, 0], [1250]],
    ['that takes any progress', 1, [1, 1, 1, 0, 0], [1750]],
    ['that takes no progress', Number.POSITIVE_INFINITY, [1e9, 1e9, 0], [1000]],
  ] as const)
    it(`${name} stalls once, a period after its last progress`, t => {
      t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
      const seen: number[] = []
      const watchdog = new Watchdog(least, () => seen.push(Date.now()))
      watchdog.start(1000)
      for (const units of steps) {
        t.mock.timers.tick(250)
        watchdog.add(units)
      }
      for (let i = 0; i < 20; i++) t.mock.timers.tick(250)
      assert.deepEqual(seen, stalls)
      assert.equal(watchdog.isRunning, false)
    })

  it('does not stall when it is stopped, and starts again', t => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    const seen: number[] = []
    const watchdog = new Watchdog(1, () => seen.push(Date.now()))
    watchdog.start(1000)
    t.mock.timers.tick(999)
    watchdog.stop()
    watchdog.stop()
    watchdog.add(1)
    t.mock.timers.tick(5000)
    assert.deepEqual(seen, [])
    watchdog.start(10)
    watchdog.start(1000)
    t.mock.timers.tick(1000)
    assert.deepEqual(seen, [6999])
  })
})
