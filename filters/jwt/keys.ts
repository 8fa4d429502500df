import { createSecretKey, type KeyObject } from 'node:crypto'
import { isLoopback, optionError, publicKeyIn, readPem } from 'filtered-websocket/kit'
import { algorithmsOf, MIN_RSA_BITS, RSA, type TokenHead } from './algorithms.ts'
import type { Warn } from './jwks.ts'
import type { JwtOptions } from './options.ts'

/** Where the key of a token comes from, and the algorithms that may have been used with it. */
export interface KeySource {
  readonly algorithms: readonly string[]
  find(head: TokenHead): KeyObject | Promise<KeyObject>
}

/** Bytes of a secret: as many as the hash has (RFC 7518, section 3.2). */
const SECRET_BYTES = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64],
])
const JWKS_DEFAULT = ['RS256', 'ES256']
const JWKS = [...RSA, 'ES256', 'ES384', 'ES512']
/**
 * Algorithms that a key is good for, the usual one first.
 *
 * @param name - how errors name the key.
 * @throws Error `ERR_OPTION`: it is of another kind, or too small.
 */
export function requireAlgorithms(name: string, key: KeyObject): readonly string[] {
  const possible = algorithmsOf(key)
  if (possible.length > 0) return possible
  throw optionError(`${name} must be an RSA key of ${MIN_RSA_BITS} bits or more, or an EC key of a NIST curve`)
}

/** @throws Error `ERR_OPTION`: a secret that is too short for its algorithms. */
export function secretSource(secret: string, chosen: readonly string[]): KeySource & { readonly key: KeyObject } {
  const algorithms = pinned('a secret', chosen, ['HS256'], [...SECRET_BYTES.keys()])
  // Everybody may have a public key; as a secret it would sign for everybody.
  if (secret.includes('-----BEGIN'))
    throw optionError('--jwt-secret holds a PEM key; give its file as --jwt-public-key')
  const bytes = Buffer.byteLength(secret)
  const tooLong = algorithms.find(algorithm => SECRET_BYTES.get(algorithm)! > bytes)
  if (tooLong !== undefined)
    throw optionError(
      `--jwt-secret has ${bytes} bytes; ${tooLong} needs ${SECRET_BYTES.get(tooLong)} or more (RFC 7518, section 3.2)`,
    )
  const key = createSecretKey(secret, 'utf8')
  return { algorithms, key, find: () => key }
}

/** @throws Error `ERR_OPTION`: a file that cannot be read, or holds no public key that is taken. */
export function publicKeySource(path: string, chosen: readonly string[]): KeySource {
  const pem = readPem('--jwt-public-key', path)
  const key = publicKeyIn(pem)
  const possible = requireAlgorithms(pem.name, key)
  return { algorithms: pinned('this public key', chosen, possible.slice(0, 1), possible), find: () => key }
}

/** @throws Error `ERR_OPTION`: a URL that is not safe, or an algorithm that is not for public keys. */
export async function jwksSource(url: string, chosen: readonly string[], warn: Warn): Promise<KeySource> {
  const algorithms = pinned('a JWKS', chosen, JWKS_DEFAULT, JWKS)
  // Loaded only where it is asked for.
  const { RemoteKeys } = await import('./jwks.ts')
  const keys = new RemoteKeys(checkedUrl(url), { warn })
  return { algorithms, find: head => keys.find(head) }
}

/** The source that the options name. @throws Error `ERR_OPTION`: none, or more than one; one that cannot be used. */
export function keySourceOf(options: JwtOptions, warn: Warn): KeySource | Promise<KeySource> {
  const names = ['jwt-secret', 'jwt-public-key', 'jwt-jwks-url'] as const
  const given = names.filter(name => options[name] !== undefined)
  if (given.length !== 1) {
    const which = given.length === 0 ? 'none is given' : `given are ${given.map(name => `--${name}`).join(' and ')}`
    throw optionError(`one of --jwt-secret, --jwt-public-key and --jwt-jwks-url says who signs; ${which}`)
  }
  const { 'jwt-secret': secret, 'jwt-public-key': file, 'jwt-jwks-url': url, 'jwt-algorithms': algorithms } = options
  if (secret !== undefined) return secretSource(secret, algorithms)
  return file === undefined ? jwksSource(url!, algorithms, warn) : publicKeySource(file, algorithms)
}

/** The algorithms to take: never what a token says of itself, or whoever makes one up chooses how it is checked. */
export function pinned(
  what: string,
  chosen: readonly string[],
  usual: readonly string[],
  possible: readonly string[],
): readonly string[] {
  const wrong = chosen.find(algorithm => !possible.includes(algorithm))
  if (wrong !== undefined)
    throw optionError(`--jwt-algorithms: "${wrong}" is not for ${what}, which takes ${possible.join(', ')}`)
  return chosen.length === 0 ? usual : chosen
}

/** An attacker who can tamper with the key set can forge tokens. */
function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback(url.hostname)))
    throw optionError(
      `--jwt-jwks-url takes https://..., or http:// on loopback, received "${url ? `${url.protocol}//${url.host}` : text}"`,
    )
  if (url.username !== '' || url.password !== '') throw optionError('--jwt-jwks-url takes no user and no password')
  return url
}
