import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inSlices } from '../../src/kit/in-slices.ts'
import { slices } from '../support/slices.ts'

/** More than a slice. */
const LONG = 3

function spin(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

describe('work in slices', () => {
  it('gets each item of any iterable in order', async () => {
    function* generated() {
      yield 1
      yield 2
    }
    for (const items of [
      [1, 2],
      new Set([1, 2]),
      new Map([
        [1, 0],
        [2, 0],
      ]).keys(),
      generated(),
    ]) {
      const seen: number[] = []
      await inSlices(items, item => void seen.push(item))
      assert.deepEqual(seen, [1, 2])
    }
    assert.equal(
      inSlices([], () => assert.fail()),
      undefined,
    )
  })

  it('skips entries that are deleted meanwhile and includes those that are added', async () => {
    const set = new Set([1, 2, 3, 4])
    const seen: number[] = []
    await inSlices(set, item => {
      seen.push(item)
      if (item === 1) set.delete(1)
      if (item === 2) setImmediate(() => set.delete(3))
      if (item === 4) setImmediate(() => set.add(5))
      spin(LONG)
    })
    assert.deepEqual(seen, [1, 2, 4, 5])
  })

  it('begins at once, and lets other work run between two slices', async () => {
    const order: string[] = []
    const done = inSlices(['a', 'b'], item => {
      order.push(item)
      setImmediate(() => order.push(`after ${item}`))
      spin(LONG)
    })
    order.push('first')
    await done
    assert.deepEqual(order, ['a', 'first', 'after a', 'b', 'after b'])
  })

  it('ends with the error of an item', async t => {
    const seen: number[] = []
    const fail = (item: number) => {
      seen.push(item)
      if (item === 2) throw new Error('broken')
    }
    const { mock } = t.mock.method(performance, 'now', () => 0)
    assert.throws(() => inSlices([1, 2, 3], fail), { message: 'broken' })
    mock.restore()
    const late = inSlices([1, 2, 3], item => {
      spin(LONG)
      fail(item)
    })
    await assert.rejects(late!, { message: 'broken' })
    assert.deepEqual(seen, [1, 2, 1, 2])
  })

  it('never holds the event loop for 100,000 items', async () => {
    const measured = slices()
    const items = new Set(Array.from({ length: 100_000 }, (_, i) => i))
    let done = 0
    await inSlices(items, () => {
      measured.work(0.005)
      done++
    })
    measured.check()
    assert.equal(done, 100_000)
  })
})
