import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readJson } from '../../filters/json/read.ts'
import { writeJson } from '../../filters/json/write.ts'

describe('JSON as Python writes it, read', () => {
  it('has numbers that JSON has not', () => {
    assert.deepEqual(readJson('[NaN, Infinity, -Infinity, {"a": NaN}]'), [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      { a: Number.NaN },
    ])
  })

  it('leaves such words alone in texts', () => {
    const value = { NaN: 'NaN', 'a "NaN" b': ['Infinity', '-Infinity', '\\', '\\"NaN', 'NaN\n'] }
    assert.deepEqual(readJson(JSON.stringify({ value, n: 0 }).replace('"n":0', '"n":NaN')), { value, n: Number.NaN })
  })

  it('is strict otherwise', () => {
    for (const text of ['', 'nan', '-NaN', 'NaNs', '[NaN', '{"a": NaN,}', '+Infinity', 'undefined', '\ufeff1'])
      assert.throws(() => readJson(text), SyntaxError, text)
  })

  it('takes the last of equal keys', () => {
    assert.deepEqual(readJson('{"a": 1, "a": 2}'), { a: 2 })
  })
})

describe('JSON as Python writes it, written', () => {
  it('has a blank behind commas and colons, and none elsewhere', () => {
    assert.equal(writeJson({ a: [1, { b: null }], c: {}, d: [] }), '{"a": [1, {"b": null}], "c": {}, "d": []}')
  })

  it('leaves texts as they are', () => {
    const texts = ['a,\nb', ',', '\n ', 'a: b,c', 'п, é', '{"a":1,\n "b":2}']
    assert.equal(writeJson(texts), `[${texts.map(text => JSON.stringify(text)).join(', ')}]`)
    assert.deepEqual(JSON.parse(writeJson(texts)), texts)
  })

  it('is as long as what it says, however deep that is', () => {
    const deep = `${'['.repeat(90)}${'1,'.repeat(1_000_000)}1${']'.repeat(90)}`
    assert.equal(writeJson(JSON.parse(deep)), deep)
    const texts = ['\\"'.repeat(1_000_000), ', '.repeat(1_000_000)]
    assert.deepEqual(JSON.parse(writeJson(texts)), texts)
    const short = ['\\'.repeat(30_000), ':']
    assert.equal(writeJson(short), `["${'\\\\'.repeat(30_000)}", ":"]`)
  })

  it('says null for numbers that JSON has not, and throws for what is nothing in it', () => {
    assert.equal(writeJson([Number.NaN, Number.POSITIVE_INFINITY]), '[null, null]')
    assert.throws(() => writeJson(undefined), { message: 'JSON cannot say undefined' })
    assert.throws(() => writeJson(() => 1), { message: 'JSON cannot say function' })
  })
})
