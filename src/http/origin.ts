import { type OriginPattern, originUrl } from './origin-pattern.ts'

/**
 * Whether a page of this origin may connect. Clients without an Origin header are not browsers: auth filters decide.
 *
 * @param allowed - origins in addition to the server's own.
 * @param isSecure - whether the connection uses TLS.
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
  // An attacker on the network can change a page that was loaded without TLS.
  if (isSecure && from?.protocol !== 'https:') return false
  // Behind a proxy that terminates TLS the scheme is unknown: host and port decide.
  return from !== undefined && from.host === parse(`${from.protocol}//${hostHeader ?? ''}`)?.host
}

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined
}
