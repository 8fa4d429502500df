import { FwsError, messageOf, shown } from './errors.ts'

/** A text message is a string, a binary message a Buffer. */
export type Payload = string | Buffer

/** Format names are sent between nodes with a length of one byte. */
const FORMAT = /^[!-~]{1,64}$/

export function isPayload(value: unknown): value is Payload {
  return typeof value === 'string' || Buffer.isBuffer(value)
}

/** @throws FwsError `ERR_PAYLOAD` unless the payload is a string or a Buffer. */
export function checkPayload(operation: string, payload: unknown): void {
  if (isPayload(payload)) return
  const what = payload === null ? 'null' : typeof payload
  throw new FwsError(
    'ERR_PAYLOAD',
    `${operation} takes a string or a Buffer, received ${what}; JSON.stringify an object`,
  )
}

/** The text of a value as JSON. @throws FwsError `ERR_PAYLOAD` for a value that JSON cannot represent. */
export function jsonOf(value: unknown): string {
  let problem: string = typeof value
  try {
    const text: string | undefined = JSON.stringify(value)
    if (text !== undefined) return text
  } catch (error) {
    problem = messageOf(error).split('\n')[0]!
  }
  throw new FwsError('ERR_PAYLOAD', `sendJson takes a value that JSON can represent, received ${problem}`)
}

/** @throws FwsError `ERR_PAYLOAD` unless the format is `undefined` or 1 to 64 printable ASCII characters without spaces. */
export function checkFormat(format: unknown): void {
  if (format === undefined || (typeof format === 'string' && FORMAT.test(format))) return
  throw new FwsError('ERR_PAYLOAD', `a format has 1 to 64 ASCII characters, without spaces, received ${shown(format)}`)
}
