import type { Payload } from '../contract/payload.ts'

/** A payload as a field of a JSON object: text in `data`, bytes as base64 in `binary`. */
export type PayloadField = { readonly data: string } | { readonly binary: string }

/** Base64 with padding (RFC 4648 section 4), which `Buffer.from` does not check. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * The field that holds a payload, for objects that are written as JSON.
 *
 * @example
 * JSON.stringify({ client: 'ann', ...payloadField(payload) })
 */
export function payloadField(payload: Payload): PayloadField {
  return typeof payload === 'string' ? { data: payload } : { binary: payload.toString('base64') }
}

/**
 * The payload in a parsed JSON object; `undefined` if it has neither `data` nor `binary`.
 *
 * @throws SyntaxError: both fields, or one that is not a string or not base64.
 */
export function payloadIn({
  data,
  binary,
}: {
  readonly data?: unknown
  readonly binary?: unknown
}): Payload | undefined {
  if (data === undefined && binary === undefined) return undefined
  if (data !== undefined && binary !== undefined) throw new SyntaxError('"data" and "binary" exclude each other')
  const [name, value] = data === undefined ? ['binary', binary] : ['data', data]
  if (typeof value !== 'string') throw new SyntaxError(`"${name}" must be a string, received ${typeof value}`)
  if (name === 'data') return value
  if (!BASE64.test(value)) throw new SyntaxError('"binary" must be base64 (RFC 4648)')
  return Buffer.from(value, 'base64')
}
