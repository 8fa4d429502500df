import mime from 'mime-types'
import { Refused } from './refused.ts'

/** Bytes from the beginning of a file that tell its type. */
export const HEAD = 4100

/** What signatures are called that go by other extensions too; without an entry: an extension is its own. */
const SIGNATURES: Readonly<Record<string, readonly string[]>> = {
  png: ['png', 'apng'],
  jpeg: ['jpg'],
  jpe: ['jpg'],
  jfif: ['jpg'],
  tiff: ['tif'],
  heif: ['heic'],
  mp4: ['mp4', 'm4v'],
  ogg: ['ogg', 'oga', 'opus', 'spx', 'ogv', 'ogm', 'ogx'],
  aiff: ['aif'],
  midi: ['mid'],
  doc: ['cfb'],
  xls: ['cfb'],
  ppt: ['cfb'],
  gz: ['gz', 'tar.gz'],
  tgz: ['gz', 'tar.gz'],
  // The first bytes of an archive do not always tell what it is for.
  docx: ['docx', 'zip'],
  xlsx: ['xlsx', 'zip'],
  pptx: ['pptx', 'zip'],
  jar: ['jar', 'zip'],
}
/** Signatures of two or three letters, with which a text may begin. Such files hold control characters, and a text none. */
const SHORT = ['bmp', 'exe', 'gif', 'bz2', 'mp3']
const XML = /xml$|html$/

/**
 * Whether the beginning of a file is what its extension says: the right signature; for a text UTF-8 without control
 * characters; for a type that has no signature none of another type.
 *
 * @param head - the first `HEAD` bytes, or all that there are.
 * @param isAll - whether nothing comes after them.
 * @returns the MIME type as far as the bytes tell it.
 * @throws Refused `content`.
 */
export async function checkContent(extension: string, head: Buffer, isAll: boolean): Promise<string | undefined> {
  const { supportedExtensions } = await import('file-type')
  const found = await signatureOf(head)
  const type = mime.lookup(extension) || ''
  if (/^text\/|json$|javascript$/.test(type) || XML.test(type)) {
    if (!isText(head, isAll))
      throw new Refused('content', `the content is no text in UTF-8, as it is in a file of type ${extension}`)
    const isTextToo = SHORT.includes(found?.ext ?? '') || (found?.ext === 'xml' && XML.test(type))
    if (found !== undefined && found.ext !== extension && !isTextToo) throw mismatch(extension, found.ext)
    return undefined
  }
  const wanted = SIGNATURES[extension] ?? [extension]
  const hasSignature = wanted.some(name => supportedExtensions.has(name))
  if (hasSignature ? !wanted.includes(found?.ext ?? '') : found !== undefined) throw mismatch(extension, found?.ext)
  return found?.mime
}

/** The MIME type of an image, by its bytes alone; `undefined`: no image that is known. */
export async function mimeOf(bytes: Buffer): Promise<string | undefined> {
  const found = await signatureOf(bytes.subarray(0, HEAD))
  return found?.mime.startsWith('image/') ? found.mime : undefined
}

async function signatureOf(head: Buffer): Promise<{ readonly ext: string; readonly mime: string } | undefined> {
  const { fileTypeFromBuffer } = await import('file-type')
  const found = await fileTypeFromBuffer(head)
  // The library reads on where the header points, which is often the end of the file.
  if (found === undefined && /^(?:49492a00|4d4d002a)$/.test(head.toString('hex', 0, 4)))
    return { ext: 'tif', mime: 'image/tiff' }
  return found
}

function isText(head: Buffer, isAll: boolean): boolean {
  try {
    // A character may be cut where the head ends.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: !isAll })
    return !/(?![\t\n\r\f])\p{Cc}/u.test(text)
  } catch {
    return false
  }
}

function mismatch(extension: string, found: string | undefined): Refused {
  const what = found === undefined ? 'not known' : `of type ${found}`
  return new Refused('content', `the content is ${what}, the name says ${extension}`)
}
