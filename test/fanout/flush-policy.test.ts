import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { FlushPolicy } from '../../src/fanout/flush-policy.ts'

describe('FlushPolicy', () => {
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

  /** Milliseconds until a flush; `sent` returns the messages sent by each millisecond. */
  const wait = (sent: (ms: number) => number) => {
    const start = now
    for (let ms = 0; policy.shouldWait(sent(ms)); now = start + ms) ms++
    return now - start
  }

  it('does not wait before the first flush, or after a short one', () => {
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

  it('waits while messages arrive, at most an eighth of the last flush', () => {
    write(32)
    assert.equal(
      wait(ms => ms),
      4,
    )
  })

  it('waits at most 5 ms, also after a long flush', () => {
    write(4000)
    assert.equal(
      wait(ms => ms),
      5,
    )
  })

  it('flushes if no message arrives for a thirty-second of the last flush', () => {
    write(32)
    assert.equal(
      wait(ms => Math.min(ms, 2)),
      2 + 1,
    )
  })

  it('does not wait for 16 flushes after a wait without messages', () => {
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

  it('restarts after each flush, also one that ends a wait early', () => {
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
