import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import jwt, { type Algorithm, type SignOptions } from 'jsonwebtoken'

export const SECRET = 'a secret of thirty-two bytes, or more'

/** A valid token. Default: expires in a minute. */
export function sign(
  claims: object,
  { key = SECRET, algorithm = 'HS256', kid }: { key?: string | KeyObject; algorithm?: string; kid?: unknown } = {},
): string {
  const header = { alg: algorithm, ...(kid !== undefined && { kid }) } as NonNullable<SignOptions['header']>
  const now = Math.floor(Date.now() / 1000)
  return jwt.sign({ exp: now + 60, ...claims }, key, { algorithm: algorithm as Algorithm, header })
}

/** A token of arbitrary parts. */
export function forge(header: unknown, payload: unknown, signature = ''): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part(payload)}.${signature}`
}

/** A token of any payload, signed with the secret. A string is not encoded as JSON. */
export function forgeSigned(payload: unknown, header: object = {}): string {
  const unsigned = [
    JSON.stringify({ alg: 'HS256', typ: 'JWT', ...header }),
    typeof payload === 'string' ? payload : JSON.stringify(payload),
  ]
    .map(text => Buffer.from(text).toString('base64url'))
    .join('.')
  return `${unsigned}.${createHmac('sha256', SECRET).update(unsigned).digest('base64url')}`
}

export interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
  /** The public key as PEM. */
  readonly pem: string
  readonly privatePem: string
}

export function rsa(modulusLength = 2048): KeyPair {
  return withPem(generateKeyPairSync('rsa', { modulusLength }))
}

export function ec(namedCurve = 'P-256'): KeyPair {
  return withPem(generateKeyPairSync('ec', { namedCurve }))
}

function withPem({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): KeyPair {
  return {
    publicKey,
    privateKey,
    pem: String(publicKey.export({ type: 'spki', format: 'pem' })),
    privatePem: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}

/** A public key in the form of a key set. */
export function jwk({ publicKey }: KeyPair, more: object): object {
  return { ...publicKey.export({ format: 'jwk' }), use: 'sig', ...more }
}
