import { isIPv6 } from 'node:net'
import { isHostname, isPort } from './hostname.ts'
import { optionError } from './option-error.ts'

const ENDPOINT = /^(?:\[([^[\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/

/** Host and port of a socket. */
export interface Endpoint {
  /** An IP address without brackets, or a DNS name. */
  readonly host: string
  readonly port: number
}

/**
 * Parses `host:port`, with IPv6 addresses in brackets.
 *
 * @param name - the option or parameter that the error names.
 * @param defaultPort - used when the string has no port; without it a port is required.
 * @throws Error `ERR_OPTION`
 * @example
 * parseEndpoint('--ntp', '[::1]', 123) // { host: '::1', port: 123 }
 */
export function parseEndpoint(name: string, value: string, defaultPort?: number): Endpoint {
  const [, bracketed, bare, digits] = ENDPOINT.exec(value) ?? []
  const host = bracketed ?? bare ?? ''
  const port = digits === undefined ? (defaultPort ?? 0) : Number(digits)
  const isValid = bracketed === undefined ? isHostname(host) : isIPv6(bracketed)
  if (isValid && isPort(port)) return { host, port }
  const form = defaultPort === undefined ? 'HOST:PORT' : 'HOST or HOST:PORT'
  throw optionError(`${name} is ${form}, received ${JSON.stringify(value)}`)
}

/**
 * Formats an endpoint as `host:port`, with IPv6 addresses in brackets.
 *
 * @example
 * formatEndpoint({ host: '::1', port: 123 }) // '[::1]:123'
 */
export function formatEndpoint({ host, port }: Endpoint): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`
}

/**
 * A host as `listen` and `connect` of Node take it: an IPv6 address without the brackets that it has in a URL.
 *
 * @example
 * server.listen(port, withoutBrackets('[::1]'))
 */
export function withoutBrackets(host: string): string {
  const [, address = ''] = /^\[(.*)\]$/.exec(host) ?? []
  return isIPv6(address) ? address : host
}
