import { EVERYONE } from 'filtered-websocket'
import { CommandError } from '../command-error.ts'

/** The parameters of a method, not checked. */
export type Params = Readonly<Record<string, unknown>>

/** UTF-16 code units of the name of a channel, a user or a client, and of an idempotency key; longer topics match no pattern. */
const MAX_NAME = 1024

/** Error 107, bad request. */
export function badRequest(message: string): CommandError {
  return new CommandError({ code: 107, message })
}

/** Error 108, not available. */
export function notAvailable(message: string): CommandError {
  return new CommandError({ code: 108, message })
}

export function isObject(value: unknown): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @throws CommandError unless it is a name that does not belong to a filter. */
export function channelOf(value: unknown): string {
  const channel = nameOf(value, 'channel')
  if (channel === undefined) throw badRequest('channel is missing')
  if (channel.startsWith('@') && channel !== EVERYONE)
    throw new CommandError({ code: 103, message: 'channels that begin with @ belong to filters' })
  return channel
}

/** A name, or `undefined` if it is absent, `null` or empty, as some SDKs send it. @throws CommandError */
export function nameOf(value: unknown, name: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string' && value.length <= MAX_NAME) return value
  const received = typeof value === 'string' ? `${value.length} characters` : kindOf(value)
  throw badRequest(`${name} is a string of 1 to ${MAX_NAME} characters, received ${received}`)
}

/** The content of a publication: JSON, or the bytes of `b64data`. @throws CommandError */
export function contentOf({ data, b64data, tags, version }: Params): string | Buffer {
  if (isObject(tags) && Object.keys(tags).length > 0) throw notAvailable('tags are not available')
  if (Number(version) > 0) throw notAvailable('version is not available')
  if (b64data === undefined || b64data === null || b64data === '') {
    if (data === undefined) throw badRequest('data or b64data is missing')
    return JSON.stringify(data)
  }
  if (typeof b64data !== 'string' || !isBase64(b64data)) throw badRequest('b64data is not base64')
  return Buffer.from(b64data, 'base64')
}

/** Not by one regular expression: it would overflow the stack on long strings. */
function isBase64(text: string): boolean {
  const digits = text.replace(/={1,2}$/, '')
  const hasLength = digits === text ? digits.length % 4 !== 1 : text.length % 4 === 0
  return hasLength && !/[^\w+/-]/.test(digits)
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'array' : typeof value
}
