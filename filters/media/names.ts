import { UploadError } from './upload-error.ts'

/** A client's name of its file, validated. For display only. */
export interface ClientName {
  /** In Unicode normalization form C. */
  readonly original: string
  /** The last extension, in lower case. */
  readonly extension: string
}

const MAX_BYTES = 255
/** Characters before normalization, which takes quadratic time. */
const MAX_GIVEN = 1024
const TOO_LONG = `a file name has at most ${MAX_BYTES} bytes`
const BIDIRECTIONAL = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u
/** A variation selector after a pictograph is part of an emoji. */
const INVISIBLE =
  /(?!\ufe0f)[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]|(?<!\p{Extended_Pictographic})\ufe0f/u
/** Device names of Windows, with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$) *(?:\.|$)/i
const EXTENSION = /\.([A-Za-z0-9]{1,8})$/

/** Checked in this order. */
const RULES: readonly (readonly [isBroken: (name: string) => boolean, reason: string])[] = [
  [name => name === '', 'a file needs a name'],
  [name => Buffer.byteLength(name) > MAX_BYTES, TOO_LONG],
  [name => !name.isWellFormed(), 'a file name has no unpaired surrogates'],
  [name => /[/\\]/.test(name), 'a file name has no / and no \\'],
  [name => /\p{Cc}/u.test(name), 'a file name has no control characters'],
  [name => BIDIRECTIONAL.test(name), 'a file name has no characters that change the text direction'],
  [name => INVISIBLE.test(name), 'a file name has no invisible characters'],
  [name => name.startsWith('.'), 'a file name does not begin with a dot'],
  [name => /^\p{Zs}|[\p{Zs}.]$/u.test(name), 'a file name does not begin with a space, or end with a space or a dot'],
  // Such as `／` and `․`, which some systems treat as `/` and `.`.
  [
    name => marks(name.normalize('NFKC')) !== marks(name),
    'a file name has no characters that are equivalent to a dot, / or \\',
  ],
  [name => DEVICE.test(name.normalize('NFKC')), 'a file name is not a device name of Windows'],
  [name => !EXTENSION.test(name), 'a file name ends with an extension of 1 to 8 letters or digits, such as .png'],
]

/**
 * Validates a client's name of its file.
 *
 * @throws UploadError `name`
 */
export function checkName(given: string): ClientName {
  if (given.length > MAX_GIVEN) throw new UploadError('name', TOO_LONG)
  const name = given.normalize('NFC')
  const broken = RULES.find(([isBroken]) => isBroken(name))
  if (broken !== undefined) throw new UploadError('name', broken[1])
  return { original: name, extension: EXTENSION.exec(name)![1]!.toLowerCase() }
}

/**
 * The name of a saved file, such as `20261121_170312_482-3f9a1c2e.png`: UTC time, random hexadecimal digits.
 *
 * @param now - milliseconds since 1970.
 * @param random - a 32-bit integer.
 */
export function savedName(extension: string, now: number, random: number): string {
  const digits = new Date(now).toISOString().replace(/\D/g, '')
  const time = `${digits.slice(0, 8)}_${digits.slice(8, 14)}_${digits.slice(14, 17)}`
  return `${time}-${random.toString(16).padStart(8, '0')}.${extension}`
}

/** The dots and separators of a name. */
function marks(name: string): string {
  return name.replace(/[^./\\]/g, '')
}
