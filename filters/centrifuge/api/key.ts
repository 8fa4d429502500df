import type { IncomingMessage } from 'node:http'
import { isSameSecret, optionError } from 'filtered-websocket/kit'

const KEY = /^[!-~]{16,256}$/
/** The form of older SDKs, such as gocent 3. */
const AUTHORIZATION = /^apikey +(\S+)$/i

/** @throws Error `ERR_OPTION` unless each key can be sent in a header and is hard to guess. */
export function checkKeys(keys: readonly string[]): readonly string[] {
  const wrong = keys.find(key => !KEY.test(key))
  if (wrong === undefined) return keys
  const rule = 'has 16 to 256 ASCII characters, without spaces'
  throw optionError(`a key of --centrifuge-api-key ${rule}, received one of ${wrong.length} characters`)
}

/** Whether a request has one of the keys, in `X-API-Key` or as `Authorization: apikey KEY`. Compares with all, in constant time. */
export function hasKey({ headers }: IncomingMessage, keys: readonly string[]): boolean {
  const { 'x-api-key': inHeader, authorization = '' } = headers
  const given = inHeader === undefined ? AUTHORIZATION.exec(authorization)?.[1] : String(inHeader)
  return keys.map(key => isSameSecret(given ?? '', key)).includes(true)
}
