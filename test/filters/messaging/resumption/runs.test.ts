import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Run } from '../../../../filters/messaging/resumption/run.ts'
import { Runs } from '../../../../filters/messaging/resumption/runs.ts'
import { Refused } from '../../../../filters/messaging/rpc/refused.ts'

const REMEMBER = 600_000

/** Runs, and what becomes of those that are known no more. */
function runsOf(max: number) {
  const told: string[] = []
  const say = (what: string) => (run: Run) => void told.push(`${what} ${run.peer} ${run.epoch}`)
  return { runs: new Runs({ max, rememberMs: REMEMBER, forget: say('forget'), release: say('release') }), told }
}

describe('the runs of peers', () => {
  it('are eight of a peer: the one that left longest ago gives way, and none that is there', () => {
    const { runs, told } = runsOf(100)
    runs.enter('other', 'e')
    const all = Array.from({ length: 8 }, (_, i) => runs.enter('copter1', `e${i}`))
    assert.throws(
      () => runs.enter('copter1', 'e8'),
      new Refused('busy', '8 programs with this id are connected here already'),
    )
    runs.leave(all[5]!)
    runs.leave(all[2]!)
    assert.equal(runs.enter('copter1', 'e5'), all[5])
    runs.leave(all[5]!)
    runs.enter('copter1', 'e8')
    assert.deepEqual(told, ['forget copter1 e2'])
    runs.enter('copter1', 'e9')
    assert.deepEqual(told, ['forget copter1 e2', 'forget copter1 e5'])
    assert.throws(() => runs.enter('copter1', 'e10'), { code: 'busy' })
  })

  it('are so many of all peers', () => {
    const { runs, told } = runsOf(2)
    const one = runs.enter('copter1', 'e')
    runs.enter('copter2', 'e')
    assert.throws(
      () => runs.enter('copter3', 'e'),
      new Refused('busy', '2 peers are remembered here already, try again later'),
    )
    runs.leave(one)
    runs.enter('copter3', 'e')
    assert.deepEqual(told, ['forget copter1 e'])
  })

  it('are forgotten when they left long ago', t => {
    const { runs, told } = runsOf(2)
    let now = 0
    t.mock.method(performance, 'now', () => now)
    runs.leave(runs.enter('copter1', 'e'))
    runs.enter('copter2', 'e')
    now = REMEMBER
    runs.sweep()
    assert.deepEqual(told, [])
    now = REMEMBER + 1
    runs.sweep()
    assert.deepEqual(told, ['release copter1 e'])
  })
})
