import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BoundedMap } from '../../src/kit/bounded-map.ts'
import { slices } from '../support/slices.ts'

describe('a bounded map', () => {
  for (const [keys, left, evicted] of [
    ['abc', 'bc', 'a'],
    ['abac', 'ac', 'b'],
    ['aaaa', 'a', ''],
    ['abcd', 'cd', 'ab'],
    ['abab', 'ab', ''],
    ['abcab', 'ab', 'abc'],
  ] as const)
    it(`of 2 entries has ${left} after ${keys} were set`, () => {
      const gone: string[] = []
      const map = new BoundedMap<string, number>(2, (_, key) => gone.push(key))
      for (const [n, key] of [...keys].entries()) map.set(key, n)
      assert.deepEqual([...map.keys()].join(''), left)
      assert.equal(gone.join(''), evicted)
    })

  it('passes the value of what it evicts', () => {
    const gone: unknown[] = []
    const map = new BoundedMap<string, number>(1, (value, key) => gone.push([key, value]))
    map.set('a', 1).set('a', 2).set('b', 3)
    assert.deepEqual(gone, [['a', 2]])
  })

  it('keeps what is used, and makes what does not exist', () => {
    const map = new BoundedMap<string, string>(2)
    for (const key of ['a', 'b', 'a', 'c']) map.use(key, () => `first ${key}`)
    assert.equal(map.size, 2)
    assert.deepEqual(
      ['a', 'c', 'b'].map(key => map.use(key, () => 'made again')),
      ['first a', 'first c', 'made again'],
    )
  })

  it('deletes the entries whose values pass a test', async () => {
    const map = new BoundedMap<string, number>(100)
    await map.deleteWhere(() => true)
    for (const value of [1, 2, 3]) map.set(String(value), value)
    await map.deleteWhere(value => value !== 2)
    assert.deepEqual([...map], [['2', 2]])
  })

  it('tests each of 100,000 entries once and in slices, also those that are used meanwhile', async () => {
    const measured = slices()
    const map = new BoundedMap<number, number>(100_000)
    for (let i = 0; i < 100_000; i++) map.set(i, i)
    let tests = 0
    await map.deleteWhere(value => {
      measured.work(0.005)
      tests++
      map.use(value, () => value)
      return value % 2 === 0
    })
    assert.deepEqual([tests, map.size], [100_000, 50_000])
    measured.check()
  })
})
