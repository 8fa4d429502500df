import { isIP } from 'node:net'
import type { OriginPattern } from './origin-pattern.ts'

/** Whether a host name or address, however it is spelt, means this machine and no other. */
export function isLoopback(host: string): boolean {
  // The URL knows one spelling of each address.
  const name = parse(`http://${isIP(host) === 6 ? `[${host}]` : host}`)?.hostname
  if (name === undefined) return false
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '[::1]' ||
    /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(name) ||
    (isIP(name) === 4 && name.startsWith('127.'))
  )
}

/** Whether it is a Host header at all: a name or address, perhaps a port (RFC 9110, section 7.2), and nothing else that a URL may have. */
export function isHostHeader(header: string): boolean {
  return /^(?:[\w.~%!$&'()*+,;=-]+|\[[\da-f:.]+\])(?::\d*)?$/i.test(header)
}

/**
 * Whether the Host header names this server. Bound to loopback, only loopback names do: a page of another name must not
 * reach us by pointing its own name here (DNS rebinding). Bound to another address any name does, unless some are given.
 *
 * @param boundTo - the address listened on.
 * @param allowed - more names, without port.
 */
export function isHostAllowed(header: string | undefined, boundTo: string, allowed: readonly string[]): boolean {
  if (allowed.length === 0 && !isLoopback(boundTo)) return true
  const name = parse(`http://${header ?? ''}`)?.hostname
  return name !== undefined && (isLoopback(name) || allowed.some(entry => entry.toLowerCase() === name))
}

/**
 * Whether a browser's page may connect. No Origin: no browser, so left to the auth filters.
 *
 * @param allowed - origins beside the server's own, which is always allowed.
 * @param isSecure - whether the connection itself has TLS.
 */
export function isOriginAllowed(
  origin: string | undefined,
  hostHeader: string | undefined,
  allowed: readonly OriginPattern[],
  isSecure = false,
): boolean {
  if (origin === undefined) return true
  const from = originUrl(origin)
  if (allowed.some(matches => matches(from, origin))) return true
  // Whoever is on the line may put words into a page that came without TLS.
  if (isSecure && from?.protocol !== 'https:') return false
  // Behind a proxy that ends TLS the scheme is not ours to know: host and port decide.
  return from !== undefined && from.host === parse(`${from.protocol}//${hostHeader ?? ''}`)?.host
}

/** An origin as browsers write it: scheme, host and perhaps port. What only a URL may have, such as a user, is no origin. */
export function originUrl(text: string): URL | undefined {
  return /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@\\%]+$/i.test(text) ? parse(text) : undefined
}

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined
}
