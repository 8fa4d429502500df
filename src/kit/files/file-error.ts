import { LimitError } from '../limiter.ts'

/** Codes of errors of the system, with the code and the message that a client may see. */
const CODES: Readonly<Record<string, readonly [code: string, message: string]>> = {
  ENOENT: ['missing', 'there is no such file or folder'],
  ENOTDIR: ['path', 'a file or a link stands where a folder should be'],
  ELOOP: ['path', 'links are not followed'],
  EISDIR: ['path', 'it is a folder'],
  ENOTEMPTY: ['path', 'it is a folder'],
  EXDEV: ['path', 'files cannot be put there'],
  ENAMETOOLONG: ['path', 'a name in the path is too long'],
  EACCES: ['refused', 'the file may not be used'],
  EPERM: ['refused', 'the file may not be used'],
  EROFS: ['refused', 'files cannot be written'],
  ENOSPC: ['full', 'the disk is full'],
  EDQUOT: ['full', 'the disk is full'],
  EFBIG: ['full', 'the disk does not support files of that size'],
  EMFILE: ['busy', 'too many files are open, try again later'],
  ENFILE: ['busy', 'too many files are open, try again later'],
}
/** Clients cause these at will, so the operator need not see them. */
const EXPECTED = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'ENOTEMPTY', 'ENAMETOOLONG']

/**
 * A file that cannot be read or written. The message has no path of this machine.
 *
 * `code` is `path`, `missing`, `exists`, `too-large`, `full` (bytes), `count` (files), `offset`, `corrupt`, `changed`,
 * `refused`, `busy`, `gone`, `timeout`, `off` or `failed` (unexpected). `cause` is an error that the operator should see.
 */
export class FileError extends Error {
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/**
 * The error as a client may see it; an error of the system becomes `cause`.
 *
 * @example
 * await store.file(path).catch(error => { throw fileErrorOf(error) })
 */
export function fileErrorOf(error: unknown): FileError {
  if (error instanceof FileError) return error
  if (error instanceof LimitError) return new FileError(error.code, error.message)
  const { code: systemCode = '' } = Object(error) as NodeJS.ErrnoException
  const [code, message] = CODES[systemCode] ?? ['failed', 'the file could not be read or written']
  return new FileError(code, message, EXPECTED.includes(systemCode) ? undefined : error)
}
