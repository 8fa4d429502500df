import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { SerialQueue, SerialQueues } from '../../src/kit/serial-queue.ts'

const fail = () => {
  throw new Error('broken')
}

class Rejecting<T> extends Promise<T> {}

describe('a serial queue', () => {
  it('runs tasks one after the other, however long each takes', async () => {
    const queue = new SerialQueue()
    const order: string[] = []
    const all = [5, 0, 2, 0].map(ms =>
      queue.run(async () => {
        order.push(`start ${ms}`)
        await (ms > 0 ? wait(ms) : undefined)
        order.push(`end ${ms}`)
        return ms
      }),
    )
    assert.deepEqual(await Promise.all(all), [5, 0, 2, 0])
    assert.deepEqual(
      order,
      [5, 0, 2, 0].flatMap(ms => [`start ${ms}`, `end ${ms}`]),
    )
  })

  for (const [name, task, result] of [
    ['a value', () => 1, 1],
    ['undefined', () => undefined, undefined],
    ['an object', () => ({ now: 1 }), { now: 1 }],
    ['null', () => null, null],
    ['a string', () => 'then', 'then'],
  ] as const)
    it(`returns ${name} at once when it is idle`, () => {
      const queue = new SerialQueue()
      assert.deepEqual(queue.run<unknown>(task), result)
      assert.equal(queue.settled, undefined)
    })

  for (const [name, task] of [
    ['throws', fail],
    ['rejects', () => Promise.reject(new Error('broken'))],
    ['is a promise of its own class', () => Rejecting.reject(new Error('broken'))],
    ['rejects later', async () => wait(1).then(fail)],
    ['rejects with undefined', () => Promise.reject(undefined)],
  ] as const)
    it(`gives the error of a task that ${name} to its caller alone`, async () => {
      const queue = new SerialQueue()
      const before = queue.run(() => wait(1))
      const failed = Promise.resolve(queue.run<unknown>(task as () => Promise<unknown>))
      const next = queue.run(async () => 'next')
      await assert.rejects(
        failed.catch(error => {
          throw error ?? new Error('broken')
        }),
        { message: 'broken' },
      )
      assert.equal(await next, 'next')
      await before
      await queue.settled
      assert.equal(queue.settled, undefined)
    })

  it('runs a task that is added by a running one after it', async () => {
    const queue = new SerialQueue()
    const order: string[] = []
    let inner: Promise<void> | undefined
    await queue.run(async () => {
      inner = queue.run(async () => void order.push('inner'))
      await wait(2)
      order.push('outer')
    })
    await inner
    assert.deepEqual(order, ['outer', 'inner'])
  })

  it('throws what an idle task throws, and goes on', () => {
    const queue = new SerialQueue()
    assert.throws(() => queue.run(fail), { message: 'broken' })
    assert.equal(
      queue.run(() => 1),
      1,
    )
  })
})

describe('serial queues', () => {
  it('run tasks of one key one after the other, of two keys at the same time', async () => {
    const queues = new SerialQueues<string>()
    const order: string[] = []
    const first = queues.run('ann', async () => {
      await wait(2)
      order.push('ann 1')
    })
    const second = queues.run('ann', async () => void order.push('ann 2'))
    await queues.run('bob', async () => void order.push('bob'))
    await Promise.all([first, second])
    assert.deepEqual(order, ['bob', 'ann 1', 'ann 2'])
  })

  it('run a task that is added at the end of the one before it, or by it, alone', async () => {
    const queues = new SerialQueues<string>()
    let running = 0
    const alone = async () => {
      assert.equal(++running, 1)
      await wait(1)
      running--
    }
    for (let turns = 0; turns < 8; turns++) {
      const all = [queues.run('ann', alone)]
      await all[0]
      for (let turn = 0; turn < turns; turn++) await undefined
      all.push(queues.run('ann', alone))
      all.push(queues.run('ann', async () => void all.push(queues.run('ann', alone))))
      all.push(queues.run('ann', alone))
      await Promise.all(all)
      await Promise.all(all)
    }
    await assert.rejects(queues.run('ann', fail), { message: 'broken' })
    await queues.run('ann', alone)
  })
})
