// jsonwebtoken has no EdDSA (RFC 8037). node:crypto signs and verifies, and jsonwebtoken checks the claims on a copy of the token
// that has an HMAC in place of the signature.
import { createHmac, type KeyObject, sign, verify } from 'node:crypto'
import type { TokenHead } from './algorithms.ts'
import { Refused } from './refusal.ts'

export function isEdDsa(algorithm: string): boolean {
  return algorithm.startsWith('Ed')
}

/**
 * Returns the copy for jsonwebtoken, once the signature is verified.
 *
 * @param mac - key of the copy; random, and known to this process only.
 * @throws Refused `bad signature`
 */
export function verifiedCopy(token: string, key: KeyObject, mac: KeyObject): string {
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  if (!verify(null, Buffer.from(token.slice(0, dot)), key, signature)) throw new Refused('bad signature')
  return signedAgain(token, { alg: 'HS256' }, input => createHmac('sha256', mac).update(input).digest())
}

/** Replaces header and signature of a token by those of EdDSA. */
export function signedByEdDsa(token: string, head: TokenHead, key: KeyObject): string {
  const { alg, kid } = head
  return signedAgain(token, { alg, typ: 'JWT', kid }, input => sign(null, Buffer.from(input), key))
}

function signedAgain(token: string, header: object, signer: (input: string) => Buffer): string {
  const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${token.split('.')[1]}`
  return `${input}.${signer(input).toString('base64url')}`
}
