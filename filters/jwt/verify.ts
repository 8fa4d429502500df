import { createSecretKey, randomBytes } from 'node:crypto'
import jwt, { type Algorithm } from 'jsonwebtoken'
import type { TokenHead } from './algorithms.ts'
import { isEdDsa, verifiedCopy } from './eddsa.ts'
import type { KeySource } from './keys.ts'
import type { JwtOptions } from './options.ts'
import { type Reason, Refused } from './refusal.ts'
import { hasRequired, readRequired } from './required.ts'

/** Claims of a token (RFC 7519, section 4.1); the named ones have been checked. */
export interface Claims {
  /** Also of a token whose `sub` is a whole number, as `jti`. */
  readonly sub?: string
  readonly iss?: string
  readonly jti?: string
  /** Seconds since 1970. */
  readonly iat?: number
  readonly exp?: number
  /** Data about the user for other users, unchecked. */
  readonly info?: unknown
  readonly [claim: string]: unknown
}

/** A verified token. */
export interface Token {
  readonly claims: Claims
  /** Seconds since 1970. */
  readonly expires: number
}

/** Verifies a token. Rejects with `Refused`. */
export type Verify = (text: string) => Promise<Token>

/** Error messages of jsonwebtoken, and the reason for each. */
const REASONS: readonly (readonly [RegExp, Reason])[] = [
  [/^jwt expired|^maxAge exceeded/, 'expired'],
  [/^jwt not active/, 'not yet valid'],
  [/^jwt audience/, 'wrong audience'],
  [/^jwt issuer/, 'wrong issuer'],
  [/signature/, 'bad signature'],
]

/** A token without the scheme of Authorization, which some clients leave before it: `Bearer TOKEN`, in a cookie `Bearer%20TOKEN`. */
export function withoutScheme(text: string): string {
  return text.replace(/^bearer(?:%20|[ +])+/i, '')
}

/**
 * Verifies length, algorithm, signature, times, issuer, audience and required claims, but not revocations.
 *
 * @throws Error `ERR_OPTION` for an invalid `--jwt-require`.
 */
export function verifierOf(options: JwtOptions, { algorithms, find }: KeySource): Verify {
  const { 'jwt-issuer': issuer, 'jwt-audience': audience, 'jwt-max-age': maxAge } = options
  const required = options['jwt-require'].map(readRequired)
  const mac = createSecretKey(randomBytes(32))
  const checks = {
    clockTolerance: options['jwt-clock-tolerance'],
    // jsonwebtoken accepts no value if the array is empty.
    ...(issuer.length > 0 && { issuer: issuer as [string, ...string[]] }),
    ...(audience.length > 0 && { audience: audience as [string, ...string[]] }),
    ...(maxAge !== undefined && { maxAge }),
  }
  return async given => {
    // From JSON of a client.
    if (typeof given !== 'string') throw new Refused('malformed')
    const text = withoutScheme(given)
    if (text.length > options['jwt-max-token']) throw new Refused('too long')
    const head = headOf(text)
    if (!algorithms.includes(head.alg)) throw new Refused('wrong algorithm')
    const key = await find(head)
    const now = Date.now() / 1000
    let claims: unknown
    try {
      const [signed, by, accepted] = isEdDsa(head.alg)
        ? [verifiedCopy(text, key, mac), mac, ['HS256']]
        : [text, key, algorithms]
      claims = jwt.verify(signed, by, { ...checks, algorithms: accepted as Algorithm[], clockTimestamp: now })
    } catch (error) {
      throw error instanceof Refused ? error : new Refused(reasonOf(error), error)
    }
    const token = tokenOf(claims, maxAge)
    // A token from the future would bypass revocations and --jwt-max-age.
    if ((token.claims.iat ?? 0) > now + checks.clockTolerance) throw new Refused('not yet valid')
    if (!required.every(claim => hasRequired(token.claims, claim))) throw new Refused('wrong claim')
    return token
  }
}

function headOf(text: string): TokenHead {
  let header: Readonly<Record<string, unknown>> | undefined
  try {
    header = jwt.decode(text, { complete: true })?.header as typeof header
  } catch {
    // Not JSON.
  }
  const { alg, kid, crit } = header ?? {}
  if (typeof alg !== 'string' || (kid !== undefined && typeof kid !== 'string')) throw new Refused('malformed')
  // `crit` names required extensions; none is supported (RFC 7515, section 4.1.11).
  if (crit !== undefined) throw new Refused('malformed')
  return { alg, kid }
}

function reasonOf(error: unknown): Reason {
  const message = error instanceof Error ? error.message : ''
  return REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? 'malformed'
}

/** Checks the claims: a valid signature does not imply valid claims. */
function tokenOf(claims: unknown, maxAge: number | undefined): Token {
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) throw new Refused('malformed')
  const { iss, iat, exp } = claims as Readonly<Record<string, unknown>>
  const [sub, jti] = ['sub', 'jti'].map(name => idIn(claims, name))
  const areTimes = [iat, exp].every(time => time === undefined || Number.isFinite(time))
  if (!(iss === undefined || (typeof iss === 'string' && iss !== '')) || !areTimes) throw new Refused('malformed')
  const expiries = [exp as number | undefined, maxAge === undefined ? undefined : (iat as number) + maxAge]
  const expires = Math.min(...expiries.filter(expiry => expiry !== undefined))
  if (expires === Number.POSITIVE_INFINITY) throw new Refused('no expiry')
  const ids = { ...(sub !== undefined && { sub }), ...(jti !== undefined && { jti }) }
  return { claims: { ...claims, ...ids }, expires: Math.floor(expires) }
}

/** A subject or token id as string; RFC 7519 requires a string, but some issuers use the number of a database row. */
function idIn(claims: object, name: string): string | undefined {
  if (!Object.hasOwn(claims, name)) return undefined
  const id = (claims as Readonly<Record<string, unknown>>)[name]
  // JSON.parse rounds larger integers, so two subjects could become one.
  if (Number.isSafeInteger(id)) return String(id)
  if (typeof id !== 'string' || id === '') throw new Refused('malformed')
  return id
}
