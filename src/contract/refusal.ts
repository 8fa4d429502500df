import { validateHeaderName, validateHeaderValue } from 'node:http'
import { FwsError, messageOf } from './errors.ts'

/** An HTTP response that refuses a handshake or a request. */
export interface Refusal {
  readonly status: number
  /** The body, without a line break. Default: the reason phrase of the status. */
  readonly reason: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
}

/**
 * Checks the arguments of `client.refuse()`.
 *
 * @throws FwsError `ERR_STATE` for a status that does not refuse, or an invalid header.
 */
export function checkRefusal({ status, headers = {} }: Refusal): void {
  if (!Number.isInteger(status) || status < 300 || status > 599)
    throw new FwsError('ERR_STATE', `refuse() takes an HTTP status from 300 to 599, received ${status}`)
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (error) {
      throw new FwsError('ERR_STATE', `refuse() takes valid HTTP headers: ${messageOf(error)}`, error)
    }
  }
}
