import { type OriginPattern, originUrl } from './origin-pattern.ts'

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

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined
}
