import { FwsError } from './errors.ts'
import type { Payload } from './types.ts'

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
