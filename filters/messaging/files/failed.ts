import { CallFailed, fileErrorOf } from 'filtered-websocket/kit'

/** The error of a file transfer without paths, as a peer may get it. `cause` is the original error, for the log. */
export function failedBy(error: unknown): CallFailed {
  if (error instanceof CallFailed) return error
  const { code, message, cause } = fileErrorOf(error)
  return Object.assign(new CallFailed(code, message), { cause })
}
