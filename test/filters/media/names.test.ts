import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkName, savedName } from '../../../filters/media/names.ts'
import { HOSTILE, LONG } from '../../support/hostile-names.ts'

describe('the name of a client', () => {
  for (const [reason, ...names] of HOSTILE) {
    it(`refused: ${reason} (${names.length})`, () => {
      for (const name of names)
        assert.throws(() => checkName(name), { code: 'name', reason, message: reason }, JSON.stringify(name))
    })
  }

  it('is refused in more than 60 ways', () => {
    assert.ok(new Set(HOSTILE.flatMap(([, ...names]) => names)).size > 60)
  })

  it('is refused at once, however its accents are ordered', () => {
    const name = `a${'\u0301'.repeat(50_000)}${'\u0316'.repeat(50_000)}.png`
    const began = performance.now()
    assert.throws(() => checkName(name), { code: 'name', reason: LONG })
    assert.ok(performance.now() - began < 500)
  })

  it('gives the last extension, in lower case', () => {
    assert.deepEqual(checkName('Holiday 1.PNG'), { name: 'Holiday 1.PNG', extension: 'png' })
    assert.deepEqual(checkName('a.tar.gz'), { name: 'a.tar.gz', extension: 'gz' })
    assert.deepEqual(checkName('a.php.png'), { name: 'a.php.png', extension: 'png' })
    assert.deepEqual(checkName('a.png.php'), { name: 'a.png.php', extension: 'php' })
    assert.deepEqual(checkName('a.m\u212av'), { name: 'a.mKv', extension: 'mkv' })
  })

  it('comes back in normal form C', () => {
    assert.deepEqual(checkName('u\u0308ber.txt'), { name: 'über.txt', extension: 'txt' })
    const longest = `${'e\u0301'.repeat(125)}.png`
    assert.equal(checkName(longest).name, longest.normalize('NFC'))
  })

  it('may be what people call their files', () => {
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
      assert.equal(checkName(name).name, name.normalize('NFC'))
  })
})

describe('the name of a saved file', () => {
  it('is the time in UTC, eight hexadecimal digits and the extension', () => {
    assert.equal(
      savedName('png', Date.UTC(2026, 10, 21, 17, 3, 12, 482), 0x3f9a1c2e),
      '20261121_170312_482-3f9a1c2e.png',
    )
    assert.equal(savedName('wav', Date.UTC(2026, 0, 2, 3, 4, 5, 6), 1), '20260102_030405_006-00000001.wav')
  })
})
