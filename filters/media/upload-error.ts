import { fileErrorOf } from 'filtered-websocket/kit'
import type { UploadErrorCode } from '../../protocols/nanollm/upload.ts'

/** Codes of FileError that clients see, with their codes of the protocol. */
const FILE_CODES: Readonly<Record<string, UploadErrorCode>> = { full: 'quota', count: 'count', busy: 'busy' }

/** A file that is refused; none of its bytes are kept. */
export class UploadError extends Error {
  readonly code: UploadErrorCode

  /**
   * @param reason - one sentence that is safe to show: without input of the client and paths of this machine.
   * @param cause - an error that the operator should see.
   */
  constructor(code: UploadErrorCode, reason: string, cause?: unknown) {
    super(reason, { cause })
    this.code = code
  }
}

/** The error as a client may see it. */
export function uploadErrorOf(error: unknown): UploadError {
  if (error instanceof UploadError) return error
  const { code, message, cause } = fileErrorOf(error)
  const uploadCode = FILE_CODES[code]
  return uploadCode === undefined
    ? new UploadError('lost', 'the file could not be written', error)
    : new UploadError(uploadCode, message, cause)
}
