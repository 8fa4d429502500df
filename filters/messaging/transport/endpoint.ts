import { isIP, isIPv6 } from 'node:net'
import { optionError } from 'filtered-websocket/kit'

const MAX_PORT = 65_535
/** Characters of a name in DNS. */
const MAX_NAME = 253
const NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i
const ENDPOINT = /^(?:\[([^[\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/

/** Where somebody is to be reached. */
export interface Endpoint {
  /** An IP address without brackets, or a name. */
  readonly host: string
  readonly port: number
}

/**
 * What somebody says in the form `host:port`, IPv6 addresses in brackets.
 *
 * @param what - says it, such as an option.
 * @param defaultPort - `undefined`: the port must be there.
 * @throws Error `ERR_OPTION`
 */
export function endpointOf(what: string, text: string, defaultPort?: number): Endpoint {
  const [, bracketed, bare, digits] = ENDPOINT.exec(text) ?? []
  const host = bracketed ?? bare ?? ''
  const port = digits === undefined ? (defaultPort ?? 0) : Number(digits)
  const isRight = bracketed === undefined ? isHost(host) : isIPv6(bracketed)
  if (isRight && isPort(port)) return { host, port }
  const form = defaultPort === undefined ? 'HOST:PORT' : 'HOST or HOST:PORT'
  throw optionError(`${what} is ${form}, received ${JSON.stringify(text)}`)
}

/** Whether it is an IP address or could be a name in DNS. */
export function isHost(text: string): boolean {
  return isIP(text) !== 0 || (text.length <= MAX_NAME && NAME.test(text))
}

/** Whether somebody may listen there. */
export function isPort(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= MAX_PORT
}

/** As it stands in a URL. */
export function inBrackets(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
