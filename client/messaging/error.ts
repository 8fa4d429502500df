import type { Failure } from '../../protocols/clever-show/message.ts'

/** Why there is no answer, or which error is the answer. */
export class MessagingError extends Error {
  override readonly name = 'MessagingError'
  /** `timeout`; `gone`: no connection any more; `full`: too much waits; `none`: the server has no filter `messaging`. All else is the server's word. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** The error of a response; `undefined`: it has none. */
export function errorIn({ error }: { readonly error?: Failure }): MessagingError | undefined {
  return error && new MessagingError(error.code, error.message)
}
