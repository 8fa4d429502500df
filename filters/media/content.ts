import mime from 'mime-types'
import { UploadError } from './upload-error.ts'

/** Bytes at the beginning of a file by which its type is detected. */
export const HEAD_BYTES = 4100

/** Extensions of the signatures that a file may have, by its own extension. Default: its own. */
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
  // The first bytes of an archive do not always show its purpose.
  docx: ['docx', 'zip'],
  xlsx: ['xlsx', 'zip'],
  pptx: ['pptx', 'zip'],
  jar: ['jar', 'zip'],
}
/** Signatures of two or three letters, with which text may begin: text has no control characters, and these files do. */
const SHORT_SIGNATURES = ['bmp', 'exe', 'gif', 'bz2', 'mp3']
const XML = /xml$|html$/

/**
 * Checks that a file begins as its extension requires: with the right signature; for text UTF-8 without control
 * characters; for types without a signature no signature of another type.
 *
 * @param head - the first `HEAD_BYTES` bytes, or the whole file if it is shorter.
 * @param isWhole - whether `head` is the whole file.
 * @returns the MIME type of the signature; `undefined`: none.
 * @throws (rejects) UploadError `content`
 */
export async function checkContent(extension: string, head: Buffer, isWhole: boolean): Promise<string | undefined> {
  const { supportedExtensions } = await import('file-type')
  const found = await signatureOf(head)
  const type = mime.lookup(extension) || ''
  if (/^text\/|json$|javascript$/.test(type) || XML.test(type)) {
    if (!isText(head, isWhole))
      throw new UploadError('content', `a file of type ${extension} has text in UTF-8 without control characters`)
    const canBeText = SHORT_SIGNATURES.includes(found?.ext ?? '') || (found?.ext === 'xml' && XML.test(type))
    if (found !== undefined && found.ext !== extension && !canBeText) throw mismatch(extension, found.ext)
    return undefined
  }
  const wanted = SIGNATURES[extension] ?? [extension]
  const hasSignature = wanted.some(name => supportedExtensions.has(name))
  if (hasSignature ? !wanted.includes(found?.ext ?? '') : found !== undefined) throw mismatch(extension, found?.ext)
  return found?.mime
}

/** The MIME type of an image by its first bytes; `undefined`: no image of a known type. */
export async function imageMimeOf(bytes: Buffer): Promise<string | undefined> {
  const found = await signatureOf(bytes.subarray(0, HEAD_BYTES))
  return found?.mime.startsWith('image/') ? found.mime : undefined
}

async function signatureOf(head: Buffer): Promise<{ readonly ext: string; readonly mime: string } | undefined> {
  const { fileTypeFromBuffer } = await import('file-type')
  const found = await fileTypeFromBuffer(head)
  // The library needs the directory of a TIFF file, which is often at the end.
  if (found === undefined && /^(?:49492a00|4d4d002a)$/.test(head.toString('hex', 0, 4)))
    return { ext: 'tif', mime: 'image/tiff' }
  return found
}

function isText(head: Buffer, isWhole: boolean): boolean {
  try {
    // The end of the head may split a character.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: !isWhole })
    return !/(?![\t\n\r\f])\p{Cc}/u.test(text)
  } catch {
    return false
  }
}

function mismatch(extension: string, found: string | undefined): UploadError {
  const type = found === undefined ? 'an unknown type' : `type ${found}`
  return new UploadError('content', `the content has ${type}, the extension is ${extension}`)
}
