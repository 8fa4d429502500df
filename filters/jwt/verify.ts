import jwt, { type Algorithm } from 'jsonwebtoken'
import type { TokenHead } from './algorithms.ts'
import type { KeySource } from './keys.ts'

import type { JwtOptions } from './options.ts'
import { type Reason, Refused } from './refused.ts'

/** What a token says (RFC 7519, section 4.1), checked as far as it is named here. */
export interface Claims {
  readonly sub?: string
  readonly iss?: string
  readonly jti?: string
  /** Seconds since 1970. */
  readonly iat?: number
  readonly exp?: number
  readonly [claim: string]: unknown
}

/** A token that holds. */
export interface Token {
  readonly claims: Claims
  /** Seconds since 1970. */
  readonly expires: number
}

/** @throws Refused. */
export type Verify = (text: string) => Promise<Token>

/** Words of jsonwebtoken, and ours for them. */
const REASONS: readonly (readonly [RegExp, Reason])[] = [
  [/^jwt expired|^maxAge exceeded/, 'expired'],
  [/^jwt not active/, 'not yet valid'],
  [/^jwt audience/, 'wrong audience'],
  [/^jwt issuer/, 'wrong issuer'],
  [/signature/, 'bad signature'],
]

/** Checks tokens: length, algorithm, signature, times, issuer and audience; not whether they were revoked. */
export function verifierOf(options: JwtOptions, { algorithms, find }: KeySource): Verify {
  const { 'jwt-issuer': issuer, 'jwt-audience': audience, 'jwt-max-age': maxAge } = options
  const wanted = {
    algorithms: algorithms as Algorithm[],
    clockTolerance: options['jwt-clock-tolerance'],
    // To jsonwebtoken an empty list is one that nothing is on.
    ...(issuer.length > 0 && { issuer: issuer as [string, ...string[]] }),
    ...(audience.length > 0 && { audience: audience as [string, ...string[]] }),
    ...(maxAge !== undefined && { maxAge }),
  }
  return async text => {
    if (text.length > options['jwt-max-token']) throw new Refused('too long')
    const head = headOf(text)
    if (!algorithms.includes(head.alg)) throw new Refused('wrong algorithm')
    const key = await find(head)
    const now = Date.now() / 1000
    let claims: unknown
    try {
      claims = jwt.verify(text, key, { ...wanted, clockTimestamp: now })
    } catch (error) {
      throw new Refused(reasonOf(error), error)
    }
    const token = tokenOf(claims, maxAge)
    // Or it would outlive every revocation, and --jwt-max-age.
    if ((token.claims.iat ?? 0) > now + wanted.clockTolerance) throw new Refused('not yet valid')
    return token
  }
}

function headOf(text: string): TokenHead {
  let header: Readonly<Record<string, unknown>> | undefined
  try {
    header = jwt.decode(text, { complete: true })?.header as typeof header
  } catch {
    // No JSON in it.
  }
  const { alg, kid, crit } = header ?? {}
  if (typeof alg !== 'string' || (kid !== undefined && typeof kid !== 'string')) throw new Refused('malformed')
  // It asks for what we do not know to be understood (RFC 7515, section 4.1.11).
  if (crit !== undefined) throw new Refused('malformed')
  return { alg, kid }
}

function reasonOf(error: unknown): Reason {
  const message = error instanceof Error ? error.message : ''
  return REASONS.find(([words]) => words.test(message))?.[1] ?? 'malformed'
}

/** The signature is right; what is signed may still be no set of claims. */
function tokenOf(claims: unknown, maxAge: number | undefined): Token {
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) throw new Refused('malformed')
  const { sub, iss, jti, iat, exp } = claims as Readonly<Record<string, unknown>>
  const areTexts = [sub, iss, jti].every(text => text === undefined || (typeof text === 'string' && text !== ''))
  const areTimes = [iat, exp].every(time => time === undefined || Number.isFinite(time))
  if (!areTexts || !areTimes) throw new Refused('malformed')
  const ends = [exp as number | undefined, maxAge === undefined ? undefined : (iat as number) + maxAge]
  const expires = Math.min(...ends.filter(end => end !== undefined))
  if (expires === Number.POSITIVE_INFINITY) throw new Refused('no expiry')
  return { claims: claims as Claims, expires: Math.floor(expires) }
}
