import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { FlushPolicy } from '../../src/fanout/flush-policy.ts'

describe('the policy of writing', () => {
  let now: number
  let policy: FlushPolicy

  beforeEach(() => {
    now = 1000
    policy = new FlushPolicy(() => now)
  })

  const write = (milliseconds: number) => {
    policy.begin()
    now += milliseconds
    policy.end()
  }

  /** Milliseconds that pass before what is sent now is written; `sent` tells the messages at each millisecond. */
  const wait = (sent: (ms: number) => number) => {
    const start = now
    for (let ms = 0; policy.shouldWait(sent(ms)); now = start + ms) ms++
    return now - start
  }

  it('waits for nothing at first, and nowhere where writing is cheap', () => {
    assert.equal(
      wait(() => 1),
      0,
    )
    write(0.1)
    assert.equal(
      wait(ms => ms),
      0,
    )
  })

  it('waits as long as messages come, at most an eighth of what the last writing took', () => {
    write(32)
    assert.equal(
      wait(ms => ms),
      4,
    )
  })

  it('waits no longer than 5 ms, however long that was', () => {
    write(4000)
    assert.equal(
      wait(ms => ms),
      5,
    )
  })

  it('writes when no message has come for a thirty-second of it', () => {
    write(32)
    assert.equal(
      wait(ms => Math.min(ms, 2)),
      2 + 1,
    )
  })

  it('rests for 16 writings after a wait that brought nothing', () => {
    write(32)
    assert.equal(
      wait(() => 1),
      1,
    )
    write(32)
    for (let i = 0; i < 16; i++) {
      assert.equal(
        wait(() => 1),
        0,
      )
      write(32)
    }
    assert.equal(
      wait(ms => ms),
      4,
    )
  })

  it('does not wait when the load is over', () => {
    write(32)
    now += 33
    assert.equal(
      wait(ms => ms),
      0,
    )
  })

  it('begins anew after each writing, also one that came before the end of the wait', () => {
    write(32)
    assert.equal(policy.shouldWait(1), true)
    now += 3
    write(32)
    assert.equal(
      wait(ms => 1 + ms),
      4,
    )
  })
})
