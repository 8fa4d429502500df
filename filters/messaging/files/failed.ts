import { CallFailed, fileErrorOf } from 'filtered-websocket/kit'

/** The failure of a file transfer as a peer may see it; `cause` is for the operator. */
export function failedBy(error: unknown): CallFailed {
  if (error instanceof CallFailed) return error
  const { code, message, cause } = fileErrorOf(error)
  return Object.assign(new CallFailed(code, message), { cause })
}
