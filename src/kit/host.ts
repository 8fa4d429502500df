import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import { fieldsOf } from './fields-of.ts'

/** Host and port of RFC 9110, section 7.2: a name, an IPv4 address, or an IPv6 address in brackets. */
const HOST_HEADER = /^(\[[^[\]]+\]|[^:[\]]+)(?::(\d{0,5}))?$/
/** ASCII only, without escapes: the URL parser turns `localhost。`, `ⓛocalhost` and `%6cocalhost` into `localhost`, a resolver does not. */
const NAME = /^[\w-]+(?:\.[\w-]+)*\.?$/
/** Scheme and authority of a request target; clients that use a proxy may send the scheme of the WebSocket. */
const ABSOLUTE_FORM = /^((?:http|ws)s?:\/\/)([^/?#]*)/i
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\]|\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\])$/

/**
 * Whether a host leads to this machine and to no other: `localhost`, 127.0.0.0/8, `::1` and `::ffff:127.0.0.0/104`.
 *
 * For hosts that an operator writes and that this process binds or connects to, and for addresses that it is bound to.
 * Every spelling that the system resolver reads as such an address counts (`127.1`, `0x7f.1`, `2130706433`), in any case,
 * IPv6 with or without brackets, names with or without the final dot. Names in `.localhost` do not count: a resolver may
 * ask DNS for them. A port, a user or a path makes it no host.
 *
 * @param host - a name or address without port, or the `hostname` of a `URL`.
 * @example
 * if (url.protocol !== 'https:' && !isLoopback(url.hostname)) throw optionError(`--url takes https, received "${url}"`)
 */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(canonical(host) ?? '')
}

/**
 * Whether a string is a Host header value: a host and optionally a port from 1 to 65535 (RFC 9110, section 7.2; RFC 3986,
 * section 3.2.2).
 *
 * Stricter than the RFC, since proxies, URL parsers and resolvers disagree about the rest: names consist of letters, digits,
 * `-`, `_` and dots, without percent-encoding, and a name that ends in a number is an IPv4 address of four decimal numbers.
 * Browsers send no other spelling.
 *
 * @example
 * isHostHeader('[::1]:9000') // true
 * isHostHeader('localhost/evil') // false
 */
export function isHostHeader(header: string): boolean {
  if (header === lastHost) return true
  const isValid = parsesAsHost(header)
  if (isValid) lastHost = header
  return isValid
}

/** The last valid header, in all of the process: nearly all requests of a server have the same. */
let lastHost: string | undefined

function parsesAsHost(header: string): boolean {
  const [, host, port] = HOST_HEADER.exec(header) ?? []
  const name = host && canonical(host)
  if (!name) return false
  // The URL parser reads 0177.0.0.1 as 127.0.0.1, other parsers as 177.0.0.1 or as a name.
  if (isIPv4(name) && name !== host) return false
  return !port || (Number(port) >= 1 && Number(port) <= 65_535)
}

/**
 * Whether the Host header names this server. Bound to loopback, only loopback names do: a page of another name must not
 * reach the server by resolving its own name to this machine (DNS rebinding). Bound to another address any name does, unless
 * names are given.
 *
 * Names in `.localhost` count here, other than in `isLoopback`: browsers resolve them to loopback themselves.
 *
 * @param header - the value of Host; one that is not a Host header names no server.
 * @param boundTo - the address that the server is bound to.
 * @param allowed - names in addition to loopback; their ports are ignored; default: none.
 * @example
 * if (!isHostAllowed(req.headers.host, server.address().address)) res.writeHead(403).end()
 */
export function isHostAllowed(header: string | undefined, boundTo: string, allowed: readonly string[] = []): boolean {
  if (allowed.length === 0 && !isLoopback(boundTo)) return true
  if (header === undefined || !isHostHeader(header)) return false
  const name = nameOf(header)!
  return LOOPBACK.test(name) || name.endsWith('.localhost') || allowed.some(entry => nameOf(entry) === name)
}

/**
 * What is wrong with the host of a request, as the sentence of a 400 answer; `undefined`: nothing (RFC 9112, section 3.2).
 *
 * HTTP/1.0 needs no Host header. There must not be two, and a target in absolute form must name the same host: a proxy may
 * have checked the other one.
 *
 * @example
 * const problem = hostProblem(req)
 * if (problem !== undefined) res.writeHead(400).end(problem)
 * else req.url = originForm(req.url!)
 */
export function hostProblem(req: IncomingMessage): string | undefined {
  const { httpVersion, url = '' } = req
  const [host, another] = fieldsOf(req, 'host')
  if (another !== undefined) return 'more than one Host header'
  if (host === undefined && httpVersion !== '1.0') return 'no Host header'
  if (host !== undefined && !isHostHeader(host)) return 'bad Host header'
  if (url.startsWith('/') || url === '*') return undefined
  const [, scheme, authority] = ABSOLUTE_FORM.exec(url) ?? []
  const isSame =
    host !== undefined &&
    authority !== undefined &&
    isHostHeader(authority) &&
    new URL(scheme + authority).host === new URL(scheme + host).host
  return isSame ? undefined : 'bad request target'
}

/**
 * The path and query of a request target: absolute form becomes origin form, other forms stay (RFC 9112, section 3.2).
 *
 * The authority is removed: check it before with `hostProblem`.
 *
 * @example
 * originForm('http://localhost:9000/x?y') // '/x?y'
 */
export function originForm(target: string): string {
  const [start = '', scheme] = ABSOLUTE_FORM.exec(target) ?? []
  const path = target.slice(start.length)
  return scheme === undefined || path.startsWith('/') ? path : `/${path}`
}

/** The canonical name of a Host header, or of an IPv6 address. */
function nameOf(header: string): string | undefined {
  return canonical(isIPv6(header) ? header : (HOST_HEADER.exec(header)?.[1] ?? header))
}

/** One spelling of each name and address, IPv6 in brackets, without the final dot; `undefined`: it is no host. */
function canonical(host: string): string | undefined {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  const url = `http://${isIPv6(bare) ? `[${bare}]` : host}`
  if (!isIPv6(bare) && !NAME.test(host)) return undefined
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, '') : undefined
}
