import { FwsError, shown } from './errors.ts'

/** A text message is a string, a binary message a Buffer. */
export type Payload = string | Buffer

/** As it travels between nodes: one byte tells its length. */
const FORMAT = /^[!-~]{1,64}$/

export function isPayload(value: unknown): value is Payload {
  return typeof value === 'string' || Buffer.isBuffer(value)
}

/** @throws FwsError `ERR_PAYLOAD` when a filter sends what is neither text nor bytes. */
export function checkPayload(operation: string, payload: unknown): void {
  if (isPayload(payload)) return
  const what = payload === null ? 'null' : typeof payload
  throw new FwsError(
    'ERR_PAYLOAD',
    `${operation} takes a string or a Buffer, received ${what}; JSON.stringify an object`,
  )
}

/** @throws FwsError `ERR_PAYLOAD` for a format that is no short word. */
export function checkFormat(format: unknown): void {
  if (format === undefined || (typeof format === 'string' && FORMAT.test(format))) return
  throw new FwsError(
    'ERR_PAYLOAD',
    `a format is a word of at most 64 ASCII characters, without blanks, received ${shown(format)}`,
  )
}
