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

  it('time out with a message that names the call, each at its own time', async t => {
    let now = 0
    t.mock.method(performance, 'now', () => now)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const calls = new PendingCalls(3, '--max-calls')
    const settled: string[] = []
    const late = (id: string, timeout: number) =>
      assert
        .rejects(calls.start(id, battery, ignore, { timeout }), {
          code: 'timeout',
          message: `robot 7 has not answered "battery" within ${timeout} ms`,
        })
        .then(() => settled.push(id))
    const waiting = [late('slow', 400), late('quick', 20), late('middle', 200)]
    calls.resolve('none', 1)
    for (const [at, expected] of [
      [19, []],
      [20, ['quick']],
      [199, ['quick']],
      [200, ['quick', 'middle']],
      [399, ['quick', 'middle']],
      [400, ['quick', 'middle', 'slow']],
    ] as const) {
      const ms = at - now
      now = at
      t.mock.timers.tick(ms)
      await new Promise(setImmediate)
      assert.deepEqual(settled, expected, `at ${at} ms`)
    }
    await Promise.all(waiting)
  })

  it('have one timer, which ends when they are settled', async t => {
    const set = t.mock.method(globalThis, 'setTimeout')
    const clear = t.mock.method(globalThis, 'clearTimeout')
    const isCleared = () => clear.mock.calls.some(({ arguments: [timer] }) => timer === set.mock.calls[0]!.result)
    const calls = new PendingCalls(2, '--max-calls')
    const both = ['a', 'b'].map(id => calls.start(id, battery, ignore))
    calls.resolve('a', 1)
    assert.deepEqual([set.mock.callCount(), isCleared()], [1, false])
    calls.resolve('b', 2)
    assert.equal(isCleared(), true)
    await Promise.all(both)
  })

  it('have errors of another class, and report each that is settled', async () => {
    class Refusal extends Error {
      constructor(code: string, message: string) {
        super(`${code}: ${message}`)
      }
    }
    const settled: string[] = []
    const calls = new PendingCalls<typeof battery & { id: string }>(1, '--max-calls', {
      Failed: Refusal,
      onSettled: ({ id }) => void settled.push(id),
    })
    const start = (id: string) => calls.start(id, { ...battery, id }, ignore, { timeout: 5 })
    const late = start('a')
    await assert.rejects(start('b'), new Refusal('busy', '1 calls wait for answers, --max-calls allows no more'))
    await assert.rejects(late, new Refusal('timeout', 'robot 7 has not answered "battery" within 5 ms'))
    const answered = start('c')
    calls.resolve('c', 1)
    calls.resolve('c', 2)
    await answered
    assert.deepEqual(settled, ['a', 'c'])
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
