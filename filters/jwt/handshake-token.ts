import type { Handshake } from 'filtered-websocket'
import type { JwtOptions } from './options.ts'
import { Refused } from './refusal.ts'
import { withoutScheme } from './verify.ts'

/** The subprotocol before a token, in any case. Pages in a browser cannot set other headers. */
const BEARER = 'bearer'
/** Three parts; other subprotocols of this form must precede `bearer`. */
const TOKEN_FORM = /^[^.]*\.[^.]*\.[^.]*$/
/** RFC 6750, section 2.1. */
const AUTHORIZATION = /^bearer +([\w.~+/-]+=*)$/i
/** Credentials of another scheme, such as those that a browser sends to a proxy (RFC 9110, section 11.4). */
const OTHER_SCHEME = /^(?!bearer )[\w!#$%&'*+.^`|~-]+ +\S/i

type Chosen = Pick<JwtOptions, 'jwt-cookie' | 'jwt-query'>

/**
 * Returns the token of a handshake: from Authorization, Sec-WebSocket-Protocol, and if configured a cookie or the query.
 *
 * @throws Refused for a malformed value, or two different tokens.
 */
export function handshakeToken(
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
  // An attacker may have injected one of them.
  if (new Set(offered.map(withoutScheme)).size > 1) throw new Refused('two different tokens')
  return token
}

/** Selects a subprotocol if a token is offered: never the token, and `bearer` only if there is no other. */
export function selectProtocol(protocols: readonly string[]): string | undefined {
  const bearer = indexOfBearer(protocols)
  if (bearer === -1) return undefined
  return protocols.find((name, i) => i < bearer || (i > bearer + 1 && !TOKEN_FORM.test(name))) ?? protocols[bearer]
}

function indexOfBearer(protocols: readonly string[]): number {
  return protocols.findIndex(name => name.toLowerCase() === BEARER)
}

/** Reads all headers; Node's `headers` has only the first. Other schemes and an empty header have no token. */
function inAuthorization({ headers, request }: Handshake): string[] {
  const all = request?.headersDistinct.authorization ?? [headers.authorization ?? []].flat()
  return all
    .filter(text => text !== '' && !OTHER_SCHEME.test(text))
    .map(text => AUTHORIZATION.exec(text)?.[1] ?? refuse())
}

function inProtocols(protocols: readonly string[]): string[] {
  const bearer = indexOfBearer(protocols)
  if (bearer === -1) return []
  return [protocols[bearer + 1] ?? refuse(), ...protocols.slice(bearer + 2).filter(name => TOKEN_FORM.test(name))]
}

/** RFC 6265, section 4.2.1. An empty cookie has been cleared. */
function inCookies(header: string | undefined, name: string): string[] {
  return (header ?? '').split(';').flatMap(pair => {
    const at = pair.indexOf('=')
    const bare = pair
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1')
    return at !== -1 && pair.slice(0, at).trim() === name && bare !== '' ? [bare] : []
  })
}

function refuse(): never {
  throw new Refused('malformed')
}
