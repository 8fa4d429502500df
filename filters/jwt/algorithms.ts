import type { KeyObject } from 'node:crypto'

/** The unverified header of a token. */
export interface TokenHead {
  readonly alg: string
  readonly kid: string | undefined
}

/** Algorithms of RSA keys, the default first. */
export const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
/** Algorithms by key type or name of the curve, the default first. */
const ALGORITHMS = new Map([
  ['rsa', RSA],
  ['rsa-pss', ['PS256', 'PS384', 'PS512']],
  ['prime256v1', ['ES256']],
  ['secp384r1', ['ES384']],
  ['secp521r1', ['ES512']],
  // RFC 8037, section 3.1, and RFC 9864, section 2.2.
  ['ed25519', ['EdDSA', 'Ed25519']],
  ['ed448', ['EdDSA', 'Ed448']],
])
/** RFC 7518, section 3.3. */
export const MIN_RSA_BITS = 2048

/** Algorithms that a key supports, the default first; empty if its type or size is not accepted. */
export function algorithmsOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly string[] {
  const { namedCurve, modulusLength = MIN_RSA_BITS } = asymmetricKeyDetails ?? {}
  if (modulusLength < MIN_RSA_BITS) return []
  return ALGORITHMS.get(namedCurve ?? String(asymmetricKeyType)) ?? []
}
