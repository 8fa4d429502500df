import { Refused } from './refused.ts'

/** The name that a client gives to its file. It names nothing here: handlers may show it. */
export interface ClientName {
  /** In normal form C. */
  readonly name: string
  /** The last one, in lower case. */
  readonly extension: string
}

const MAX_BYTES = 255
/** Characters as they come; normal form C has fewer, and takes the square of their number in time. */
const MAX_GIVEN = 1024
const TOO_LONG = `a file name has at most ${MAX_BYTES} bytes`
const BIDIRECTIONAL = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u
/** A variation selector behind a picture is part of an emoji, and seen. */
const INVISIBLE =
  /(?!\ufe0f)[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]|(?<!\p{Extended_Pictographic})\ufe0f/u
/** Devices on Windows, whatever extension follows. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$) *(?:\.|$)/i
const EXTENSION = /\.([A-Za-z0-9]{1,8})$/

/** What must not be so, in this order, and what is said of it. */
const RULES: readonly (readonly [isWrong: (name: string) => boolean, reason: string])[] = [
  [name => name === '', 'a file needs a name'],
  [name => Buffer.byteLength(name) > MAX_BYTES, TOO_LONG],
  [name => !name.isWellFormed(), 'a file name has no half characters (unpaired surrogates)'],
  [name => /[/\\]/.test(name), 'a file name has no / and no \\'],
  [name => /\p{Cc}/u.test(name), 'a file name has no control characters'],
  [name => BIDIRECTIONAL.test(name), 'a file name has no characters that turn the direction of writing'],
  [name => INVISIBLE.test(name), 'a file name has no invisible characters'],
  [name => name.startsWith('.'), 'a file name does not begin with a dot'],
  [name => /^\p{Zs}|[\p{Zs}.]$/u.test(name), 'a file name does not begin with a blank, or end with a blank or a dot'],
  // `／`, `․` and the like, which other systems take for what they resemble.
  [
    name => marks(name.normalize('NFKC')) !== marks(name),
    'a file name has no characters that stand for a dot, / or \\',
  ],
  [name => DEVICE.test(name.normalize('NFKC')), 'a file name is not one that Windows keeps for a device'],
  [name => !EXTENSION.test(name), 'a file name ends with an extension of 1 to 8 letters or digits, such as .png'],
]

/**
 * The name of a client's file, checked.
 *
 * @throws Refused `name`.
 */
export function checkName(given: string): ClientName {
  if (given.length > MAX_GIVEN) throw new Refused('name', TOO_LONG)
  const name = given.normalize('NFC')
  const broken = RULES.find(([isWrong]) => isWrong(name))
  if (broken !== undefined) throw new Refused('name', broken[1])
  return { name, extension: EXTENSION.exec(name)![1]!.toLowerCase() }
}

/**
 * The name under which a file is kept: `20261121_170312_482-3f9a1c2e.png`, the time in UTC, then eight hexadecimal digits.
 *
 * @param now - milliseconds since 1970.
 * @param random - an integer of 32 bits.
 */
export function savedName(extension: string, now: number, random: number): string {
  const digits = new Date(now).toISOString().replace(/\D/g, '')
  const time = `${digits.slice(0, 8)}_${digits.slice(8, 14)}_${digits.slice(14, 17)}`
  return `${time}-${random.toString(16).padStart(8, '0')}.${extension}`
}

/** The dots and separators, in their order. */
function marks(name: string): string {
  return name.replace(/[^./\\]/g, '')
}
