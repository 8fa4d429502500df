import { CallFailed } from '../rpc/pending.ts'

/** What the system says, and what that is to a peer. */
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
  EFBIG: ['full', 'the disk takes no file of that size'],
  EMFILE: ['busy', 'too many files are open, try again later'],
  ENFILE: ['busy', 'too many files are open, try again later'],
}
/** Of these the operator need not hear: peers make them happen. */
const EXPECTED = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'ENOTEMPTY', 'ENAMETOOLONG']

/**
 * A file that was not sent, or not taken. Its code: `off`, `path`, `missing`, `too-large`, `full`, `offset`, `corrupt`,
 * `changed`, `refused`, `busy`; `gone`: the connection has ended; `failed`: what nobody expected.
 */
export class FileFailed extends CallFailed {
  /** @param cause - what the system said: for the operator alone. */
  constructor(code: string, message: string, cause?: unknown) {
    super(code, message)
    this.cause = cause
  }
}

/** What a peer may know of a failure; paths and the system's own words stay here. */
export function failedBy(error: unknown): CallFailed {
  if (error instanceof CallFailed) return error
  const { code = '' } = Object(error) as NodeJS.ErrnoException
  const [what, message] = CODES[code] ?? ['failed', 'the file could not be read or written']
  return new FileFailed(what, message, EXPECTED.includes(code) ? undefined : error)
}
