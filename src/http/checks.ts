import type { IncomingMessage } from 'node:http'
import type { Refusal } from '../contract/refusal.ts'
import { fieldsOf } from '../kit/fields-of.ts'
import { hostProblem, originForm } from '../kit/host.ts'
import { hasBody } from '../kit/request-body.ts'
import { badCertificate, certificateProblem } from './certificate.ts'
import { hasTooManyFields, isEncrypted, TOO_MANY_FIELDS } from './handshake.ts'
import { originProblem, requestOriginProblem } from './origin.ts'
import type { OriginPattern } from './origin-pattern.ts'
import { refusal } from './refusal.ts'

/** What the checks of requests and handshakes depend on. */
export interface Checks {
  readonly origins: readonly OriginPattern[]
  /** Whether requests with this Host header are served. */
  readonly isHostAllowed: (host: string | undefined) => boolean
}

const CLOSE = { Connection: 'close' }
/** RFC 6455, section 4.2.1: 16 bytes in base64. */
const KEY = /^[+/\dA-Za-z]{22}==$/

const TWO_ORIGINS = 'more than one Origin header'
/** The safe methods that browsers send (RFC 9110, section 9.2.1). */
export const SAFE_METHOD = /^(?:GET|HEAD|OPTIONS)$/

/** Targets that need no parser. */
const PLAIN_TARGET = /^\/[\w./?=&-]*$/

/** The refusal of any request, plain or a handshake; `undefined`: it may go on, with its target in origin form. */
export function requestProblem(req: IncomingMessage, checks: Pick<Checks, 'isHostAllowed'>): Refusal | undefined {
  const { host } = req.headers
  if (hasTooManyFields(req)) return refusal(431, TOO_MANY_FIELDS, CLOSE)
  const badHost = hostProblem(req)
  if (badHost !== undefined) return refusal(400, badHost, CLOSE)
  const problem = certificateProblem(req.socket)
  if (problem !== undefined) return refusal(403, badCertificate(problem), CLOSE)
  if (!checks.isHostAllowed(host)) return refusal(403, `host ${host ?? '(none)'} is not served here; see --hosts`)
  req.url = originForm(req.url!)
  return undefined
}

/** The refusal of a plain request that asks for a client; see `server.admit`. */
export function admissionProblem(req: IncomingMessage, checks: Checks): Refusal | undefined {
  return (
    requestProblem(req, checks) ??
    (hasUrl(req) ? undefined : refusal(400, 'bad request target')) ??
    pageProblem(req, checks)
  )
}

/** The refusal of a plain request that changes something and comes from a page of another origin (CSRF). */
export function changeProblem(req: IncomingMessage, checks: Checks): Refusal | undefined {
  return SAFE_METHOD.test(req.method!) ? undefined : pageProblem(req, checks)
}

/** The refusal of a handshake (RFC 6455, section 4.2.1). */
export function handshakeProblem(req: IncomingMessage, checks: Checks): Refusal | undefined {
  const malformed = malformedOf(req)
  if (malformed !== undefined) return refusal(400, malformed)
  const problem = requestProblem(req, checks)
  if (problem !== undefined) return problem
  const { headers, method } = req
  if (!hasUrl(req)) return refusal(400, 'bad request target')
  if (method !== 'GET') return refusal(405, 'a WebSocket handshake is a GET', { Allow: 'GET' })
  if (headers['sec-websocket-version'] !== '13')
    return refusal(426, 'only WebSocket version 13 is supported', { 'Sec-WebSocket-Version': '13' })
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) return refusal(400, 'missing or bad Sec-WebSocket-Key')
  const badOrigin = originProblem(headers, checks.origins, isEncrypted(req))
  return badOrigin === undefined ? undefined : refusal(403, badOrigin)
}

/** An error message for a handshake that is malformed or ambiguous as HTTP. */
function malformedOf(req: IncomingMessage): string | undefined {
  if (req.httpVersion !== '1.1') return `a WebSocket handshake is HTTP/1.1, received HTTP/${req.httpVersion}`
  // The body would be parsed as frames.
  if (hasBody(req)) return 'a WebSocket handshake has no body'
  return hasOrigins(req) ? TWO_ORIGINS : undefined
}

function pageProblem(req: IncomingMessage, { origins }: Checks): Refusal | undefined {
  if (hasOrigins(req)) return refusal(400, TWO_ORIGINS)
  const problem = requestOriginProblem(req.headers, origins, isEncrypted(req))
  return problem === undefined ? undefined : refusal(403, problem)
}

function hasOrigins(req: IncomingMessage): boolean {
  return fieldsOf(req, 'origin').length > 1
}

/** Whether the target is a path, and `handshake.url` can be read. */
function hasUrl({ url = '', headers: { host } }: IncomingMessage): boolean {
  return host !== undefined && (PLAIN_TARGET.test(url) || (url.startsWith('/') && URL.canParse(`ws://${host}${url}`)))
}
