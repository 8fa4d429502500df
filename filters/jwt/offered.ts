import type { Handshake } from 'filtered-websocket'
import type { JwtOptions } from './options.ts'
import { Refused } from './refused.ts'

/** The subprotocol that announces a token as the next one; a browser's page can set no other header. */
const BEARER = 'bearer'
/** Three parts: a subprotocol like that stands before the word. */
const LIKE_TOKEN = /^[^.]*\.[^.]*\.[^.]*$/
/** RFC 6750, section 2.1. */
const AUTHORIZATION = /^bearer +([\w.~+/-]+=*)$/i

type Chosen = Pick<JwtOptions, 'jwt-cookie' | 'jwt-query'>

/**
 * The token that a handshake brings, if any: in Authorization, in Sec-WebSocket-Protocol, and where asked for in a cookie
 * or in the query.
 *
 * @throws Refused: something is there and it is no token, or there are two that differ.
 */
export function tokenOffered(
  handshake: Handshake,
  { 'jwt-cookie': cookie, 'jwt-query': query }: Chosen,
): string | undefined {
  const offered = [
    ...inAuthorization(handshake),
    ...inProtocols(handshake.protocols),
    ...(cookie === undefined ? [] : inCookies(handshake.headers.cookie, cookie)),
    ...(query ? handshake.url.searchParams.getAll('token') : []),
  ]
  const [token] = offered
  // One of them may have been slipped in by somebody else, and nobody knows which.
  if (offered.some(other => other !== token)) throw new Refused('two different tokens')
  return token
}

/** The subprotocol to answer to who offers a token among them: never a token, and the others before the word `bearer`. */
export function protocolAnswered(protocols: readonly string[]): string | undefined {
  const announced = protocols.indexOf(BEARER)
  if (announced === -1) return undefined
  return protocols.find((name, i) => i < announced || (i > announced + 1 && !LIKE_TOKEN.test(name))) ?? BEARER
}

/** Of several headers Node keeps the first alone. */
function inAuthorization({ headers, request }: Handshake): string[] {
  const all = request?.headersDistinct.authorization ?? [headers.authorization ?? []].flat()
  return all.map(text => AUTHORIZATION.exec(text)?.[1] ?? refuse())
}

function inProtocols(protocols: readonly string[]): string[] {
  const announced = protocols.indexOf(BEARER)
  if (announced === -1) return []
  return [protocols[announced + 1] ?? refuse(), ...protocols.slice(announced + 2).filter(name => LIKE_TOKEN.test(name))]
}

/** RFC 6265, section 4.2.1. An empty one has been cleared. */
function inCookies(header: string | undefined, wanted: string): string[] {
  return (header ?? '').split(';').flatMap(pair => {
    const at = pair.indexOf('=')
    const bare = pair
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1')
    return at !== -1 && pair.slice(0, at).trim() === wanted && bare !== '' ? [bare] : []
  })
}

function refuse(): never {
  throw new Refused('malformed')
}
