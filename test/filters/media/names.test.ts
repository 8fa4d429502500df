import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkName, savedName } from '../../../filters/media/names.ts'

const LONG = 'a file name has at most 255 bytes'
const SURROGATES = 'a file name has no half characters (unpaired surrogates)'
const SEPARATOR = 'a file name has no / and no \\'
const CONTROL = 'a file name has no control characters'
const DIRECTION = 'a file name has no characters that turn the direction of writing'
const INVISIBLE = 'a file name has no invisible characters'
const DOT = 'a file name does not begin with a dot'
const ENDS = 'a file name does not begin with a blank, or end with a blank or a dot'
const LOOKS = 'a file name has no characters that stand for a dot, / or \\'
const DEVICE = 'a file name is not one that Windows keeps for a device'
const EXTENSION = 'a file name ends with an extension of 1 to 8 letters or digits, such as .png'

const HOSTILE: readonly (readonly [reason: string, ...names: readonly string[]])[] = [
  ['a file needs a name', ''],
  [LONG, `${'a'.repeat(252)}.png`, `${'é'.repeat(126)}.png`, `${'😀'.repeat(63)}.png`, 'a'.repeat(1_000_000)],
  [SURROGATES, 'a\ud800.png', '\udc00.png', 'a\udc00\ud800.png', 'a.png\ud83d'],
  [SEPARATOR, '../a.png', '..\\a.png', '/etc/passwd', 'C:\\a.png', 'a/b.png', '/', '\\\\host\\share\\a.png', './a.png'],
  [SEPARATOR, '....//a.png', '..%2f../a.png', 'a.png/', 'a.png\\'],
  [CONTROL, 'a.png\0', 'a\0.png', '\0', 'a\n.png', 'a\r\n.png', '\x1b[2J.png', 'a\x7f.png', 'a\x85.png', 'a\t.png'],
  [
    DIRECTION,
    'a\u202egnp.exe',
    'a\u202a.png',
    'a\u2066.png',
    'a\u2069.png',
    '\u200ea.png',
    'a\u200f.png',
    'a\u061c.png',
  ],
  [INVISIBLE, 'a\u200b.png', 'a\u200c.png', 'a\u200d.png', '\ufeffa.png', 'a\u2060.png', 'a\u00ad.png', 'a\u180e.png'],
  [
    INVISIBLE,
    'a\u3164.png',
    'a\u115f.png',
    'a\u2800.png',
    'a\u2028.png',
    'a\u2029.png',
    'a\u{e0041}.png',
    'a\ufe0f.png',
  ],
  [
    INVISIBLE,
    '\ufe0f.png',
    'a\ufe00.png',
    'a\ufff9.png',
    'a\uffff.png',
    'a\u034f.png',
    'a\u{1d173}.png',
    '.\u200b.png',
  ],
  [DOT, '.', '..', '...', '.png', '.htaccess', '..png', '.a.png'],
  [ENDS, 'a.', 'a.png.', 'a.png ', 'a.png. ', ' a.png', ' .png', 'a.png\u00a0', 'a.png\u3000', '\u2003a.png', ' '],
  [
    LOOKS,
    '．．／a.png',
    '．．',
    'a／b.png',
    'a＼b.png',
    'a﹨b.png',
    'a․png',
    'a․exe.png',
    '．a.png',
    'a.png．',
    '‥a.png',
  ],
  [LOOKS, 'a…png', 'a﹒png', '℀.png', '℅.png', '⒈.png'],
  [
    DEVICE,
    'CON.png',
    'con.png',
    'NUL.png',
    'nul',
    'PRN.txt',
    'aux.json',
    'COM1.png',
    'lpt9.txt',
    'COM¹.png',
    'LPT³.csv',
  ],
  [DEVICE, 'ＣＯＮ.png', 'nul .png', 'CON.tar.png', 'CONIN$.png', 'conout$.txt', 'Com0.png', 'NUL'],
  [
    EXTENSION,
    'a',
    'png',
    'a.p ng',
    'a.png::$DATA',
    'a.abcdefghi',
    'a.pn\u0261',
    'a.ｐｎｇ',
    'a.p-g',
    'a.png%00',
    'a.png;b',
  ],
]

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
