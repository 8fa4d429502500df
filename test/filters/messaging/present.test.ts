import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Present } from '../../../filters/messaging/present.ts'
import type { Session } from '../../../filters/messaging/session.ts'

describe('the connections of a peer', () => {
  it('are in the order in which they came to any node, whenever this one hears of it', () => {
    const present = new Present()
    const [one, two] = [{ turn: 5 }, { turn: 8 }] as [Session, Session]
    const newest = () => [present.newest('copter1'), [...present.all()]]
    present.cameElsewhere('copter1', 9)
    assert.deepEqual(newest(), [undefined, []])
    present.enter('copter1', one)
    present.cameElsewhere('copter1', 4)
    assert.deepEqual(newest(), [one, [one]])
    present.cameElsewhere('copter1', 7)
    present.cameElsewhere('copter1', 6)
    assert.deepEqual(newest(), [undefined, []])
    present.enter('copter1', two)
    assert.deepEqual(newest(), [two, [two]])
    present.leave('copter1', two)
    assert.deepEqual(newest(), [undefined, []])
    present.leftElsewhere('copter1', 6)
    assert.deepEqual(newest(), [undefined, []])
    present.leftElsewhere('copter1', 7)
    assert.deepEqual(newest(), [one, [one]])
    present.leave('copter1', one)
    assert.deepEqual([present.of('copter1'), ...newest()], [[], undefined, []])
  })
})
