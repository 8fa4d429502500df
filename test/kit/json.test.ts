import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readJson, writeJson } from '../../src/kit/json.ts'
import { cheap, filled } from '../support/cpu.ts'

const MIB = 1_048_576
const python = (text: string) => readJson(text, { allowNaN: true })
/** An array of `count` values, made from their indexes. */
const array = (count: number, item: (i: number) => string) => `[${Array.from({ length: count }, (_, i) => item(i))}]`
const outcome = (read: () => unknown) => {
  try {
    read()
    return 'read'
  } catch (error) {
    return (error as Error).name
  }
}

describe('reading JSON with NaN', () => {
  it('accepts numbers that JSON does not have', () => {
    assert.deepEqual(python('[NaN, Infinity, -Infinity, {"a": NaN, "b": [NaN]}]'), [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      { a: Number.NaN, b: [Number.NaN] },
    ])
    assert.deepEqual(python('NaN'), Number.NaN)
    assert.deepEqual(python('[NaN,-1,-0.5,1e5]'), [Number.NaN, -1, -0.5, 1e5])
  })

  it('keeps these words in strings', () => {
    const value = { NaN: 'NaN', 'a "NaN" b': ['Infinity', '-Infinity', '\\', '\\"NaN', 'NaN\n', '\\\\', 'NaN0'] }
    assert.deepEqual(python(JSON.stringify({ value, n: 0 }).replace('"n":0', '"n":NaN')), { value, n: Number.NaN })
  })

  it('is strict otherwise', () => {
    for (const text of [
      ...[
        '',
        'nan',
        '-NaN',
        'NaNs',
        '[NaN',
        '{"a": NaN,}',
        '+Infinity',
        'undefined',
        '\ufeff1',
        '1Infinity',
        '1.Infinity',
      ],
      ...['Infinity5', 'NaNNaN', '{NaN: 1}', '[{"a": 1, Infinity: 2}]', '--Infinity', '- Infinity', '"NaN'],
    ])
      assert.throws(() => python(text), SyntaxError, text)
  })

  it('is refused unless it is allowed', () => {
    for (const text of ['NaN', '[Infinity]', '{"a":-Infinity}']) assert.throws(() => readJson(text), SyntaxError)
  })
})

describe('JSON of peers', () => {
  it('keeps the last of equal keys, and __proto__ as an own key', () => {
    assert.deepEqual(readJson('{"a": 1, "a": 2}'), { a: 2 })
    for (const [text, value] of [
      ['{"__proto__":1,"__proto__":2}', 2],
      ['{"__proto__":{"a":1},"a":NaN}', { a: 1 }],
      ['{"__proto__":NaN}', Number.NaN],
      ['{"__proto__":[],"__proto__":"x"}', 'x'],
      ['{"__proto__":{},"__proto__":null,"b":NaN}', null],
    ] as const) {
      const read = python(text) as object
      assert.equal(Object.getPrototypeOf(read), Object.prototype, text)
      assert.deepEqual(Object.getOwnPropertyDescriptor(read, '__proto__')?.value, value, text)
    }
  })

  it('has at most the characters, levels and elements of its limits', () => {
    const bounds = { maxLength: 20, maxDepth: 3, maxElements: 4 }
    for (const text of ['[[[1]]]', '[1,2,3,4]', '{"a":{"b":{"c":1}}}', '"[[[[,,,,,,"', '[[],[],[]'.slice(0, 6)])
      assert.notEqual(
        outcome(() => readJson(text, bounds)),
        'RangeError',
        text,
      )
    for (const [text, message] of [
      ['"0123456789012345678"', 'JSON has at most 20 characters, received 21'],
      ['[[[[1]]]]', 'JSON has at most 3 levels, received more'],
      ['{"a":[{"b":[]}]}', 'JSON has at most 3 levels, received more'],
      ['[1,2,3,4,5]', 'JSON has at most 4 elements, received more'],
      ['["\\"",[],[],[]]', 'JSON has at most 4 elements, received more'],
      ['["\\\\",{},{},{}]', 'JSON has at most 4 elements, received more'],
    ] as const)
      assert.throws(() => readJson(text, bounds), { name: 'RangeError', message }, text)
  })

  it('counts only outside of strings', () => {
    const brackets = '['.repeat(200)
    for (const text of [brackets, `${brackets}\\`, `\\"${brackets}`, `"${brackets}"`, `\\\\"${brackets},`])
      assert.deepEqual(readJson(JSON.stringify([text])), [text])
    const wide = array(150, () => '[[{}]]')
    assert.deepEqual(readJson(wide), JSON.parse(wide))
  })

  const hostile: readonly (readonly [what: string, text: string, outcome: string])[] = [
    ['14 MiB of NaN', filled(14 * MIB, '{"args":[', 'NaN,', 'NaN]}'), 'RangeError'],
    ['seven million [', '['.repeat(7_000_000), 'RangeError'],
    ['1 MiB of NaN', filled(MIB, '[', 'NaN,', 'NaN]'), 'RangeError'],
    ['1 MiB of [', '['.repeat(MIB), 'RangeError'],
    ['1 MiB of {"a":', '{"a":'.repeat(200_000), 'RangeError'],
    ['1 MiB of {}', filled(MIB, '[', '{},', '{}]'), 'RangeError'],
    ['1 MiB of commas', ','.repeat(MIB), 'RangeError'],
    ['99,999 NaN', array(99_999, () => 'NaN'), 'read'],
    ['99,999 -Infinity', array(99_999, () => '-Infinity'), 'read'],
    ['NaN behind 1 MiB of escaped quotes', filled(MIB, '["', '\\"', '",NaN]'), 'read'],
    ['NaN behind 1 MiB of backslashes', filled(MIB, '["', '\\\\', '",NaN]'), 'read'],
    ['1 MiB of quotes', '"'.repeat(MIB), 'SyntaxError'],
    ['1 MiB of quotes and backslashes', '"\\'.repeat(MIB / 2), 'SyntaxError'],
    ['1 MiB of spaces', ' '.repeat(MIB), 'SyntaxError'],
    ['1 MiB of minus', `[${'-'.repeat(MIB - 1)}`, 'SyntaxError'],
    ['1 MiB of N', 'N'.repeat(MIB), 'SyntaxError'],
    ['a number of 1 MiB', filled(MIB, '[0.', '9', ']'), 'read'],
    ['49,999 objects of a shape each', array(49_999, i => `{"${i.toString(36)}":1}`), 'read'],
    ['an object of 90,000 keys', `{${array(90_000, i => `"${i.toString(36)}":1`).slice(1, -1)}}`, 'read'],
    ['objects with large numbers as keys', array(33_333, i => `{"1":0,"${i + 60_000}":1}`), 'read'],
  ]
  for (const [what, text, expected] of hostile)
    it(`takes little time: ${what}`, () =>
      assert.equal(
        cheap(() => outcome(() => python(text)), what),
        expected,
      ))
})

describe('writing JSON as Python does', () => {
  it('adds a space after commas and colons only', () => {
    assert.equal(writeJson({ a: [1, { b: null }], c: {}, d: [] }), '{"a": [1, {"b": null}], "c": {}, "d": []}')
  })

  it('keeps strings unchanged', () => {
    const texts = ['a,\nb', ',', '\n ', 'a: b,c', 'п, é', '{"a":1,\n "b":2}']
    assert.equal(writeJson(texts), `[${texts.map(text => JSON.stringify(text)).join(', ')}]`)
    assert.deepEqual(JSON.parse(writeJson(texts)), texts)
  })

  it('computes the exact length at any depth', () => {
    const deep = `${'['.repeat(90)}${'1,'.repeat(1_000_000)}1${']'.repeat(90)}`
    assert.equal(writeJson(JSON.parse(deep)), deep)
    const texts = ['\\"'.repeat(1_000_000), ', '.repeat(1_000_000)]
    assert.deepEqual(JSON.parse(writeJson(texts)), texts)
    const short = ['\\'.repeat(30_000), ':']
    assert.equal(writeJson(short), `["${'\\\\'.repeat(30_000)}", ":"]`)
  })

  it('writes null for numbers that JSON does not have, and throws for values that it cannot express', () => {
    assert.equal(writeJson([Number.NaN, Number.POSITIVE_INFINITY]), '[null, null]')
    assert.throws(() => writeJson(undefined), { message: 'JSON cannot express undefined' })
    assert.throws(() => writeJson(() => 1), { message: 'JSON cannot express function' })
  })
})
