import type { Failure } from '../../protocols/clever-show/message.ts'
import { CallFailed } from '../../src/kit/pending-calls.ts'

/** A call or a transfer failed. */
export class MessagingError extends CallFailed {
  override readonly name = 'MessagingError'
  /**
   * Of this client: `timeout`; `gone` (no connection); `full` (the queue is full); `none` (the server has no filter
   * `messaging`); for files also `failed` (invalid response), `changed`, `corrupt`, `offset`, `path` and `too-large`. Other
   * codes come from the server.
   */
  declare readonly code: string
}

/** The error of a response, if it has one. */
export function errorIn({ error }: { readonly error?: Failure }): MessagingError | undefined {
  return error && new MessagingError(error.code, error.message)
}

export function goneError(): MessagingError {
  return new MessagingError('gone', 'the connection is closed')
}
