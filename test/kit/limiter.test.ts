import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LimitError, Limiter, OwnerLimiter } from '../../src/kit/limiter.ts'
import { cheap } from '../support/cpu.ts'
import { gate } from '../support/gate.ts'

describe('a limiter', () => {
  it('runs up to max tasks at a time, the others in the order of the calls', async () => {
    const limiter = new Limiter({ max: 2 })
    const order: string[] = []
    const gates = Array.from({ length: 5 }, gate)
    const all = gates.map(({ opened }, n) =>
      limiter.run(async () => {
        order.push(`start ${n}`)
        await opened
        order.push(`end ${n}`)
        return n
      }),
    )
    for (const n of [1, 0, 2, 4, 3]) {
      await new Promise(setImmediate)
      assert.equal(limiter.running, Math.min(2, 5 - order.filter(said => said.startsWith('end')).length))
      gates[n]!.open()
    }
    assert.deepEqual(await Promise.all(all), [0, 1, 2, 3, 4])
    assert.deepEqual(
      order.filter(said => said.startsWith('start')),
      [0, 1, 2, 3, 4].map(n => `start ${n}`),
    )
    assert.equal(limiter.running, 0)
  })

  it('starts each of 50,000 tasks that wait in constant time', () => {
    cheap(() => {
      const limiter = new Limiter({ max: 1 })
      limiter.take()
      let started = 0
      for (let i = 0; i < 50_000; i++)
        limiter.whenFree(() => {
          limiter.take()
          started++
        })
      for (let i = 0; i < 50_000; i++) limiter.free()
      assert.equal(started, 50_000)
    }, '50,000 tasks')
  })

  it('starts tasks that come after all others have ended', () => {
    const limiter = new Limiter({ max: 1 })
    const started: string[] = []
    const wait = (name: string) =>
      limiter.whenFree(() => {
        limiter.take()
        started.push(name)
      })
    limiter.take()
    wait('one')
    limiter.free()
    limiter.free()
    limiter.take()
    wait('two')
    const cancel = wait('three')
    wait('four')
    cancel()
    limiter.free()
    limiter.free()
    assert.deepEqual(started, ['one', 'two', 'four'])
  })

  for (const [name, fail] of [
    ['rejects', () => Promise.reject(new Error('broken'))],
    [
      'throws',
      () => {
        throw new Error('broken')
      },
    ],
  ] as const)
    it(`frees the slot of a task that ${name}`, async () => {
      const limiter = new Limiter({ max: 1 })
      const [failed, next] = [limiter.run<void>(fail), limiter.run(async () => 'next')]
      await assert.rejects(failed, { message: 'broken' })
      assert.equal(await next, 'next')
      assert.equal(limiter.running, 0)
    })

  for (const max of [1, 2, 3])
    for (const maxWaiting of [0, 1, 5])
      it(`of ${max} refuses more than ${maxWaiting} waiting tasks`, async () => {
        const limiter = new Limiter({ max, maxWaiting, noun: 'hashes' })
        const { open, opened } = gate()
        const all = Array.from({ length: max + maxWaiting }, () => limiter.run(() => opened))
        const refused = { name: 'Error', code: 'busy', message: `${maxWaiting} hashes wait, try again later` }
        await assert.rejects(
          limiter.run(async () => {}),
          refused,
        )
        assert.ok(await limiter.enter().catch(error => error instanceof LimitError))
        open()
        await Promise.all(all)
        await limiter.run(async () => {})
      })

  it('starts no further task from a total weight on, and adjusts to changed weights', () => {
    const limiter = new Limiter({ max: 10, maxWeight: 100 })
    for (const weight of [60, 39, 1]) {
      assert.equal(limiter.isFull, false)
      limiter.take(weight)
    }
    assert.equal(limiter.isFull, true)
    limiter.free(1)
    assert.equal(limiter.isFull, false)
    limiter.weigh(1)
    const started: number[] = []
    for (const n of [1, 2])
      limiter.whenFree(() => {
        started.push(n)
        limiter.take(1)
      })
    assert.deepEqual(started, [])
    limiter.weigh(-1)
    assert.deepEqual(started, [1])
    limiter.free(60)
    assert.deepEqual(started, [1, 2])
  })

  it('refuses to wait from a total weight of waiting tasks on', () => {
    const limiter = new Limiter({ max: 1, maxWaitingWeight: 10 })
    limiter.take()
    const stop = limiter.whenFree(() => {}, 9)
    limiter.whenFree(() => {}, 1)
    assert.equal(limiter.isWaitingFull, true)
    assert.throws(() => limiter.whenFree(() => {}, 0), { code: 'busy', message: '2 tasks wait, try again later' })
    stop()
    stop()
    assert.equal(limiter.isWaitingFull, false)
    limiter.whenFree(() => {}, 8)
    assert.equal(limiter.isWaitingFull, false)
  })

  it('starts a task that asks while tasks are started after those that wait', () => {
    const limiter = new Limiter({ max: 1 })
    const order: string[] = []
    limiter.take()
    limiter.whenFree(() => {
      order.push('first')
      limiter.whenFree(() => order.push('third'))
    })
    limiter.whenFree(() => order.push('second'))
    limiter.free()
    assert.deepEqual(order, ['first', 'second', 'third'])
  })

  for (const [name, reason, abortAt] of [
    ['an error', new Error('enough'), 'while waiting'],
    ['a string', 'enough', 'while waiting'],
    ['an error', new Error('enough'), 'before'],
    ['an object', { enough: true }, 'before'],
    ['an abort without a reason', undefined, 'while waiting'],
  ] as const)
    it(`ends a wait with ${name} as the signal's reason, aborted ${abortAt}`, async () => {
      const limiter = new Limiter({ max: 1 })
      limiter.take()
      const aborting = new AbortController()
      if (abortAt === 'before') aborting.abort(reason)
      const entered = limiter.enter(0, aborting.signal).then(
        () => assert.fail('it entered'),
        error => error,
      )
      const next = limiter.enter()
      aborting.abort(reason)
      assert.equal(await entered, aborting.signal.reason)
      limiter.free()
      await next
      assert.equal(limiter.running, 1)
    })

  it('keeps a place that was entered when the signal is aborted later', async () => {
    const limiter = new Limiter({ max: 1 })
    const aborting = new AbortController()
    await limiter.enter(0, aborting.signal)
    aborting.abort()
    assert.equal(limiter.running, 1)
  })
})

describe('an owner limiter', () => {
  for (const owner of [undefined, 'ann', {}, 1, Symbol('ann')])
    it(`grants ${String(owner)} as many places as there are`, () => {
      const limiter = new OwnerLimiter(2, 2, 'files')
      const leave = limiter.enter(owner)
      limiter.enter(owner)
      assert.throws(() => limiter.enter(owner), LimitError)
      leave()
      leave()
      limiter.enter(owner)
      assert.throws(() => limiter.enter(owner), LimitError)
    })

  it('grants one owner fewer', () => {
    const limiter = new OwnerLimiter(3, 1, 'files')
    const leave = limiter.enter('ann')
    const own = { code: 'busy', message: '1 files of this client are running, try again later' }
    assert.throws(() => limiter.enter('ann'), own)
    limiter.enter('bob')
    leave()
    leave()
    limiter.enter('ann')
    limiter.enter()
    assert.throws(() => limiter.enter('ann'), own)
    assert.throws(() => limiter.enter('eve'), { code: 'busy', message: '3 files are running, try again later' })
    assert.throws(() => limiter.enter(), { code: 'busy', message: '3 files are running, try again later' })
  })
})
