import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { CallFailed, PendingCalls } from '../../src/kit/pending-calls.ts'

const battery = { callee: 'robot 7', name: 'battery' }
const ignore = () => {}

describe('pending calls', () => {
  it('settle with their answers, in any order', async () => {
    const calls = new PendingCalls(2, '--max-calls')
    const sent: string[] = []
    const [a, b] = ['a', 'b'].map(id => calls.start(id, battery, id => sent.push(id)))
    assert.deepEqual(sent, ['a', 'b'])
    assert.deepEqual(
      [calls.size, calls.all(), calls.get('b'), calls.get('c')],
      [2, [battery, battery], battery, undefined],
    )
    calls.resolve('b', 2)
    calls.resolve('a', 1)
    assert.deepEqual([await a, await b, calls.size], [1, 2, 0])
  })

  it('settle once: further answers and unknown ids have no effect', async () => {
    const calls = new PendingCalls(1, '--max-calls')
    const call = calls.start('a', battery, () => calls.resolve('a', 1))
    calls.reject('a', new Error('late'))
    calls.resolve('x', 1)
    assert.equal(await call, 1)
  })

  it('reject with the error of the answer, and with the error of the function that sends', async () => {
    const calls = new PendingCalls(1, '--max-calls')
    const refused = new CallFailed('unknown', 'no battery')
    await assert.rejects(
      calls.start('a', battery, () => calls.reject('a', refused)),
      refused,
    )
    const broken = new TypeError('no JSON')
    const send = () => {
      throw broken
    }
    await assert.rejects(calls.start('a', battery, send), broken)
    assert.equal(calls.size, 0)
  })

  it('time out with a message that names the call', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const calls = new PendingCalls(2, '--max-calls')
    const [short, usual] = [calls.start('a', battery, ignore, { timeout: 5 }), calls.start('b', battery, ignore)]
    t.mock.timers.tick(5)
    await assert.rejects(short, { code: 'timeout', message: 'robot 7 has not answered "battery" within 5 ms' })
    t.mock.timers.tick(9_994)
    assert.equal(calls.size, 1)
    t.mock.timers.tick(1)
    await assert.rejects(usual, { code: 'timeout', message: 'robot 7 has not answered "battery" within 10000 ms' })
  })

  it('end with the reason of their signal, and leave no listener', async () => {
    const calls = new PendingCalls(1, '--max-calls')
    const { signal } = new AbortController()
    await calls.start('a', battery, () => calls.resolve('a', 1), { signal })
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    const end = new AbortController()
    const ended = calls.start('a', battery, ignore, { signal: end.signal })
    const reason = new Error('enough')
    end.abort(reason)
    await assert.rejects(ended, reason)
    await assert.rejects(calls.start('a', battery, assert.fail, { signal: end.signal }), reason)
    assert.equal(calls.size, 0)
  })

  it('are refused beyond the limit, and with an invalid timeout', async () => {
    const calls = new PendingCalls(1, '--max-calls')
    const waiting = calls.start('a', battery, ignore)
    await assert.rejects(calls.start('b', battery, assert.fail), {
      code: 'busy',
      message: '1 calls wait for answers, --max-calls allows no more',
    })
    for (const timeout of [0, 2_147_483_648, Number.NaN])
      await assert.rejects(calls.start('b', battery, assert.fail, { timeout }), {
        name: 'RangeError',
        message: `the timeout of a call is 1 to 2147483647 milliseconds, received ${timeout}`,
      })
    calls.resolve('a', 1)
    await waiting
  })

  it('reject all at once when their connection ends', async () => {
    const calls = new PendingCalls(2, '--max-calls')
    const both = ['a', 'b'].map(id => calls.start(id, battery, ignore))
    calls.rejectAll(({ callee, name }) => new CallFailed('gone', `${callee} left before ${name}`))
    for (const call of both) await assert.rejects(call, { code: 'gone', message: 'robot 7 left before battery' })
  })
})
