import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkName, savedName } from '../../../filters/media/names.ts'
import { cheap } from '../../support/cpu.ts'
import { HOSTILE, LONG } from '../../support/hostile-names.ts'

describe("the name of a client's file", () => {
  for (const [reason, ...names] of HOSTILE) {
    it(`is refused: ${reason} (${names.length})`, () => {
      for (const name of names)
        assert.throws(() => checkName(name), { code: 'name', message: reason }, JSON.stringify(name))
    })
  }

  it('is tested with more than 60 hostile names', () => {
    assert.ok(new Set(HOSTILE.flatMap(([, ...names]) => names)).size > 60)
  })

  it('with 100,000 accents is refused in little time', () => {
    const name = `a${'\u0301'.repeat(50_000)}${'\u0316'.repeat(50_000)}.png`
    cheap(() => assert.throws(() => checkName(name), { code: 'name', message: LONG }), 'a name')
  })

  it('has the last extension, in lower case', () => {
    assert.deepEqual(checkName('Holiday 1.PNG'), { original: 'Holiday 1.PNG', extension: 'png' })
    assert.deepEqual(checkName('a.tar.gz'), { original: 'a.tar.gz', extension: 'gz' })
    assert.deepEqual(checkName('a.php.png'), { original: 'a.php.png', extension: 'png' })
    assert.deepEqual(checkName('a.png.php'), { original: 'a.png.php', extension: 'php' })
    assert.deepEqual(checkName('a.m\u212av'), { original: 'a.mKv', extension: 'mkv' })
  })

  it('is normalized to form C', () => {
    assert.deepEqual(checkName('u\u0308ber.txt'), { original: 'über.txt', extension: 'txt' })
    const longest = `${'e\u0301'.repeat(125)}.png`
    assert.equal(checkName(longest).original, longest.normalize('NFC'))
  })

  it('may have letters of any script, emoji and punctuation', () => {
    for (const name of [
      'Screenshot 2026-11-21 at 9.41.07\u202fAM.png',
      'Отчёт за год.pdf',
      '写真.jpeg',
      'صورة.gif',
      '❤️ us.webp',
      '½ + ²√3 ™.txt',
      'a..b.png',
      'console.png',
      'nullable.txt',
      'com10.txt',
      'contents (1) [final], v2 & more.csv',
      `${'a'.repeat(251)}.png`,
    ])
      assert.equal(checkName(name).original, name.normalize('NFC'))
  })
})

describe('the name of a saved file', () => {
  it('has the time in UTC, eight hexadecimal digits and the extension', () => {
    assert.equal(
      savedName('png', Date.UTC(2026, 10, 21, 17, 3, 12, 482), 0x3f9a1c2e),
      '20261121_170312_482-3f9a1c2e.png',
    )
    assert.equal(savedName('wav', Date.UTC(2026, 0, 2, 3, 4, 5, 6), 1), '20260102_030405_006-00000001.wav')
  })
})
