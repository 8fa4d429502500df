import { createSecretKey, type KeyObject } from 'node:crypto'
import { isLoopback, optionError, publicKeyIn, readPem } from 'filtered-websocket/kit'
import { algorithmsOf, MIN_RSA_BITS, RSA, type TokenHead } from './algorithms.ts'
import type { Warn } from './jwks.ts'
import type { JwtOptions } from './options.ts'

/** Finds the key of a token, and lists the accepted algorithms. */
export interface KeySource {
  readonly algorithms: readonly string[]
  find(head: TokenHead): KeyObject | Promise<KeyObject>
  /** Fetches remote keys, so that a wrong URL is in the log at start. */
  prefetch?(): void
}

/** Minimum bytes of a secret, the size of the hash (RFC 7518, section 3.2). */
const SECRET_BYTES = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64],
])
const JWKS_DEFAULT = ['RS256', 'ES256', 'EdDSA', 'Ed25519']
const JWKS = [...RSA, 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'Ed448']

/**
 * Algorithms that a key supports, the default first.
 *
 * @param name - name of the key in errors.
 * @throws Error `ERR_OPTION` for an unsupported type or a small key.
 */
export function requireAlgorithms(name: string, key: KeyObject): readonly string[] {
  const possible = algorithmsOf(key)
  if (possible.length > 0) return possible
  throw optionError(
    `${name} must be an RSA key of ${MIN_RSA_BITS} bits or more, an EC key of a NIST curve, or an Ed25519 key`,
  )
}

/** @throws Error `ERR_OPTION` for a secret that is too short for its algorithms, or a PEM key. */
export function secretSource(secret: string, chosen: readonly string[]): KeySource & { readonly key: KeyObject } {
  const algorithms = pinned('a secret', chosen, ['HS256'], [...SECRET_BYTES.keys()])
  // With a public key as secret, all who have the key could sign tokens.
  if (secret.includes('-----BEGIN')) throw optionError('--jwt-secret is a PEM key; set --jwt-public-key to its file')
  const bytes = Buffer.byteLength(secret)
  const tooLong = algorithms.find(algorithm => SECRET_BYTES.get(algorithm)! > bytes)
  if (tooLong !== undefined)
    throw optionError(
      `--jwt-secret has ${bytes} bytes; ${tooLong} needs ${SECRET_BYTES.get(tooLong)} or more (RFC 7518, section 3.2)`,
    )
  const key = createSecretKey(secret, 'utf8')
  return { algorithms, key, find: () => key }
}

/** @throws Error `ERR_OPTION` for a file that cannot be read or has no supported public key. */
export function publicKeySource(path: string, chosen: readonly string[]): KeySource {
  const pem = readPem('--jwt-public-key', path)
  const key = publicKeyIn(pem)
  const possible = requireAlgorithms(pem.name, key)
  return { algorithms: pinned('this public key', chosen, possible.slice(0, 1), possible), find: () => key }
}

/** @throws Error `ERR_OPTION` for an insecure URL, or an algorithm that is not for public keys. */
export async function jwksSource(url: string, chosen: readonly string[], warn: Warn): Promise<KeySource> {
  const algorithms = pinned('a JWKS', chosen, JWKS_DEFAULT, JWKS)
  // Loaded only if needed.
  const { RemoteKeys } = await import('./jwks.ts')
  const keys = new RemoteKeys(checkedUrl(url), { warn })
  return { algorithms, find: head => keys.find(head), prefetch: () => keys.prefetch() }
}

/** The key source of the options. @throws Error `ERR_OPTION` for none, several, or an invalid one. */
export function keySourceOf(options: JwtOptions, warn: Warn): KeySource | Promise<KeySource> {
  const names = ['jwt-secret', 'jwt-public-key', 'jwt-jwks-url'] as const
  const given = names.filter(name => options[name] !== undefined)
  if (given.length !== 1) {
    const which = given.length === 0 ? 'none' : given.map(name => `--${name}`).join(' and ')
    throw optionError(`set one of --jwt-secret, --jwt-public-key and --jwt-jwks-url, received ${which}`)
  }
  const { 'jwt-secret': secret, 'jwt-public-key': file, 'jwt-jwks-url': url, 'jwt-algorithms': algorithms } = options
  if (secret !== undefined) return secretSource(secret, algorithms)
  return file === undefined ? jwksSource(url!, algorithms, warn) : publicKeySource(file, algorithms)
}

/** The accepted algorithms. They never come from a token, or an attacker could choose how it is verified. */
export function pinned(
  key: string,
  chosen: readonly string[],
  defaults: readonly string[],
  possible: readonly string[],
): readonly string[] {
  const wrong = chosen.find(algorithm => !possible.includes(algorithm))
  if (wrong !== undefined)
    throw optionError(`--jwt-algorithms: "${wrong}" is not valid for ${key}; valid are ${possible.join(', ')}`)
  return chosen.length === 0 ? defaults : chosen
}

/** An attacker who can tamper with the key set can forge tokens. */
function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback(url.hostname)))
    throw optionError(
      `--jwt-jwks-url takes https://..., or http:// on loopback, received "${url ? `${url.protocol}//${url.host}` : text}"`,
    )
  if (url.username !== '' || url.password !== '')
    throw optionError('--jwt-jwks-url must not contain a user or password')
  return url
}
