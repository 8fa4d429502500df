export const LONG = 'a file name has at most 255 bytes'
const SURROGATES = 'a file name has no unpaired surrogates'
const SEPARATOR = 'a file name has no / and no \\'
const CONTROL = 'a file name has no control characters'
const DIRECTION = 'a file name has no characters that change the text direction'
const INVISIBLE = 'a file name has no invisible characters'
const DOT = 'a file name does not begin with a dot'
const ENDS = 'a file name does not begin with a space, or end with a space or a dot'
const LOOKS = 'a file name has no characters that are equivalent to a dot, / or \\'
const DEVICE = 'a file name is not a device name of Windows'
const EXTENSION = 'a file name ends with an extension of 1 to 8 letters or digits, such as .png'

/** Malicious file names, with the error of filter media. */
export const HOSTILE: readonly (readonly [reason: string, ...names: readonly string[]])[] = [
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
