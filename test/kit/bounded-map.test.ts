import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BoundedMap } from '../../src/kit/bounded-map.ts'

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

  it('deletes the entries whose values pass a test', () => {
    const map = new BoundedMap<string, number>(100)
    for (const value of [1, 2, 3]) map.set(String(value), value)
    map.deleteWhere(value => value !== 2)
    assert.deepEqual([...map], [['2', 2]])
  })
})
