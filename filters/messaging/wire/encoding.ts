import { Malformed, shown } from './malformed.ts'

/** Names of Python for encodings that have another one on the web, in small letters with - for _. */
const PYTHON_NAMES = new Map([
  ['utf', 'utf-8'],
  ['u8', 'utf-8'],
  ['utf-8-sig', 'utf-8'],
  ['u16', 'utf-16'],
  ['utf16', 'utf-16'],
  ['utf-16le', 'utf-16le'],
  ['utf-16-le', 'utf-16le'],
  ['utf-16be', 'utf-16be'],
  ['utf-16-be', 'utf-16be'],
  ['cp1250', 'windows-1250'],
  ['cp1251', 'windows-1251'],
  ['cp1252', 'windows-1252'],
  ['cp866', 'ibm866'],
])
/** On the web these are windows-1252; in Python a byte is the character of its number. */
const LATIN = ['latin-1', 'latin1', 'iso-8859-1', 'iso8859-1', 'l1']
const ASCII = ['ascii', 'us-ascii', '646']

const MAX_ASCII = 0x7f
const BYTE_ORDER_MARK = 0xfeff
type Decoder = InstanceType<typeof TextDecoder>
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The text of bytes that must be UTF-8, a mark in front of them included.
 *
 * @param what - what they are, to be named when they are not.
 * @throws Malformed
 */
export function textOf(bytes: Buffer, what: string): string {
  return decoded(utf8, bytes, what, 'utf-8')
}

/**
 * The text of bytes in an encoding that Python names and the web knows too.
 *
 * @throws Malformed
 */
export function textIn(encoding: string, bytes: Buffer, what: string): string {
  if (encoding === 'utf-8') return textOf(bytes, what)
  const name = encoding.toLowerCase().replaceAll('_', '-')
  const isAscii = ASCII.includes(name)
  if (isAscii && bytes.some(byte => byte > MAX_ASCII)) throw new Malformed(`${what} is not ${inWords(encoding)}`)
  if (isAscii || LATIN.includes(name)) return bytes.toString('latin1')
  return decoded(decoderOf(PYTHON_NAMES.get(name) ?? name, bytes, encoding), bytes, what, encoding)
}

function decoderOf(name: string, bytes: Buffer, encoding: string): Decoder {
  const isBigEndian = name === 'utf-16' && bytes.length >= 2 && bytes.readUInt16BE(0) === BYTE_ORDER_MARK
  try {
    return new TextDecoder(isBigEndian ? 'utf-16be' : name, { fatal: true })
  } catch {
    throw new Malformed(`content-encoding ${shown(encoding)} is not known; send utf-8`)
  }
}

function decoded(decoder: Decoder, bytes: Buffer, what: string, encoding: string): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new Malformed(`${what} is not ${inWords(encoding)}`)
  }
}

/** Labels may have any blanks around them. */
function inWords(encoding: string): string {
  return encoding.trim()
}
