import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Present } from '../../../../filters/messaging/resumption/present.ts'
import type { Session } from '../../../../filters/messaging/rpc/session.ts'

describe('the connections of a peer', () => {
  it('are in the order in which they came to any node, whenever this one hears of it', () => {
    const present = new Present()
    const [one, two] = [{ turn: 5 }, { turn: 8 }] as [Session, Session]
    const newest = () => [present.newest('copter1'), [...present.all()]]
    present.cameElsewhere('copter1', 9, 'b')
    assert.deepEqual(newest(), [undefined, []])
    present.enter('copter1', one)
    present.cameElsewhere('copter1', 4, 'b')
    assert.deepEqual(newest(), [one, [one]])
    present.cameElsewhere('copter1', 7, 'b')
    present.cameElsewhere('copter1', 6, 'b')
    assert.deepEqual(newest(), [undefined, []])
    present.enter('copter1', two)
    assert.deepEqual(newest(), [two, [two]])
    present.leave('copter1', two)
    assert.deepEqual(newest(), [undefined, []])
    present.leftElsewhere('copter1', 6, 'b')
    assert.deepEqual(newest(), [undefined, []])
    present.leftElsewhere('copter1', 7, 'b')
    assert.deepEqual(newest(), [one, [one]])
    present.leave('copter1', one)
    assert.deepEqual([present.of('copter1'), ...newest()], [[], undefined, []])
  })

  it('are those of the nodes that live', () => {
    const present = new Present()
    const one = { turn: 5 } as Session
    present.enter('copter1', one)
    present.cameElsewhere('copter1', 6, 'b')
    present.cameElsewhere('copter1', 7, 'c')
    assert.deepEqual([...present.nodes], ['b', 'c'])
    assert.deepEqual(present.ended('c'), ['copter1'])
    assert.equal(present.newest('copter1'), undefined)
    assert.deepEqual(present.ended('b'), ['copter1'])
    assert.equal(present.newest('copter1'), one)
    assert.deepEqual([present.ended('b'), [...present.nodes]], [[], []])
  })
})
