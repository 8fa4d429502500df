import type { IncomingHttpHeaders } from 'node:http'
import { type OriginPattern, originUrl } from './origin-pattern.ts'

/** Proxies may replace Host without a trace: nginx sends the address of the upstream, and adds no header field. */
const PASS_HOST = 'if a proxy replaced Host, pass it on (nginx: proxy_set_header Host $http_host), or '

/**
 * Why a page of the Origin may not connect, as the sentence of a 403 answer; `undefined`: it may. Clients without an Origin header
 * are not browsers: auth filters decide.
 *
 * @param allowed - origins in addition to the server's own.
 * @param isSecure - whether the connection uses TLS.
 */
export function originProblem(
  headers: IncomingHttpHeaders,
  allowed: readonly OriginPattern[],
  isSecure: boolean,
): string | undefined {
  const { origin, host = '' } = headers
  if (origin === undefined) return undefined
  const from = originUrl(origin)
  if (allowed.some(matches => matches(from, origin))) return undefined
  const refused = (why: string, advice = '') => `origin ${origin} is not allowed${why}; ${advice}see --origins`
  if (from === undefined) return refused('')
  const { protocol } = from
  // Other schemes, such as capacitor://localhost, have no server that could be this one.
  if (protocol !== 'https:' && protocol !== 'http:') return refused(': its scheme is not http or https')
  // An attacker on the network can change a page that was loaded without TLS.
  if (isSecure && protocol !== 'https:')
    return refused(': its scheme is http, which must be listed for connections with TLS')
  // Behind a proxy that terminates TLS the scheme is unknown, and Host may have the port 80 of the proxy's own request.
  const own = [protocol, isSecure ? protocol : 'http:'].map(scheme => parse(`${scheme}//${host}`))
  if (own.some(url => url?.host === from.host)) return undefined
  const part = own[0]?.hostname === from.hostname ? 'port' : 'host'
  return refused(`: its ${part} is not that of the Host header, ${host}`, PASS_HOST)
}

/**
 * The same for a plain request. Browsers send no Origin with some requests, and `null` with forms of pages whose Referrer-Policy is
 * `no-referrer`. Over TLS and to loopback they also send Sec-Fetch-Site, which pages cannot set (W3C, Fetch Metadata): the relation of
 * the page to the server.
 */
export function requestOriginProblem(
  headers: IncomingHttpHeaders,
  allowed: readonly OriginPattern[],
  isSecure: boolean,
): string | undefined {
  const { origin, 'sec-fetch-site': site } = headers
  if (site === 'same-origin') return undefined
  if (origin !== undefined) return originProblem(headers, allowed, isSecure)
  const isForeign = site === 'cross-site' || site === 'same-site'
  if (!isForeign || allowed.some(matches => matches(undefined, ''))) return undefined
  return `a request of a page of another origin (Sec-Fetch-Site: ${site}) needs an Origin header that is allowed; see --origins`
}

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined
}
