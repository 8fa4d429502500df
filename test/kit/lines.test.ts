import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Lines } from '../../src/kit/lines.ts'

/** All lines of the chunks, and the number of skipped ones. */
function linesOf(chunks: readonly Buffer[], max = 100): { lines: string[]; skipped: number } {
  const lines: string[] = []
  let skipped = 0
  const split = new Lines(max, () => {
    skipped++
  })
  for (const chunk of chunks) {
    split.add(chunk)
    for (let line = split.next(); line !== undefined; line = split.next()) lines.push(line)
  }
  const last = split.hasRest ? split.last() : undefined
  if (last !== undefined) lines.push(last)
  return { lines, skipped }
}

describe('Lines', () => {
  for (const [text, lines] of [
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['\n\na', ['', '', 'a']],
    ['a\rb\n', ['a\rb']],
    ['\r\n', ['']],
    ['ü€\n', ['ü€']],
    ['last\r', ['last']],
  ] as const) {
    it(`splits ${JSON.stringify(text)}, wherever it is cut`, () => {
      const bytes = Buffer.from(text)
      for (let at = 0; at <= bytes.length; at++)
        assert.deepEqual(linesOf([bytes.subarray(0, at), bytes.subarray(at)]).lines, lines)
    })
  }

  it('splits at NUL bytes, and keeps line ends', () => {
    const lines: string[] = []
    const split = new Lines(100, () => assert.fail(), '\0')
    split.add(Buffer.from('a\r\nb\r\0\0c\r'))
    for (let line = split.next(); line !== undefined; line = split.next()) lines.push(line)
    assert.deepEqual([...lines, split.last()], ['a\r\nb\r', '', 'c\r'])
  })

  it('reports a line as soon as it is too long, once', () => {
    let skipped = 0
    const split = new Lines(10, () => skipped++)
    split.add(Buffer.from('x'.repeat(12)))
    assert.deepEqual([split.next(), skipped], [undefined, 1])
    split.add(Buffer.from('x\na'))
    assert.deepEqual([split.next(), split.last(), skipped], [undefined, 'a', 1])
  })

  it('skips lines that are too long, and no others, wherever they are cut', () => {
    for (const end of ['\n', '\r\n']) {
      const bytes = Buffer.from(['a', 'x'.repeat(10), 'x'.repeat(11), 'b', 'x'.repeat(500), ''].join(end))
      for (let size = 1; size <= bytes.length; size++) {
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        )
        assert.deepEqual(linesOf(chunks, 10), { lines: ['a', 'x'.repeat(10), 'b'], skipped: 2 }, `${size}`)
      }
    }
  })

  it('gives what split gives, for any text and any cuts', () => {
    const text = fc.array(fc.constantFrom('a', 'é', '\n', '\r\n', ' '), { maxLength: 40 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(text, fc.array(fc.nat(60), { maxLength: 6 }), (given, cuts) => {
        const bytes = Buffer.from(given)
        const ends = [...cuts.map(cut => Math.min(cut, bytes.length)), bytes.length].sort((a, b) => a - b)
        const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
        const expected = given.split(/\r?\n/)
        if (expected.at(-1) === '') expected.pop()
        assert.deepEqual(linesOf(chunks).lines, expected)
      }),
    )
  })
})
