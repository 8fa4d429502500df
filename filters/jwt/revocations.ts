import type { Values } from 'filtered-websocket'
import { Refused } from './refusal.ts'
import type { Claims } from './verify.ts'

/** All tokens issued to a subject so far, or one token by its id. */
export type Revoked = { readonly sub: string } | { readonly jti: string }

/** Revocations of all nodes, in the storage. */
export class Revocations {
  readonly #values: Values
  /** Tolerated seconds by which the issuer's clock is ahead, rounded up. */
  readonly #ahead: number

  constructor(values: Values, clockTolerance: number) {
    this.#values = values
    this.#ahead = Math.ceil(clockTolerance)
  }

  async add(which: Revoked, seconds: number): Promise<void> {
    const key = 'sub' in which ? keyOf('sub', which.sub) : keyOf('jti', which.jti)
    await this.#values.set(key, String(Math.floor(Date.now() / 1000)), { ttlMs: Math.ceil(seconds * 1000) })
  }

  /** @throws Refused if the token is revoked, or the storage fails. */
  async check({ sub, jti, iat }: Claims): Promise<void> {
    const [subjectAt, tokenAt] = await this.#read(
      sub === undefined ? undefined : keyOf('sub', sub),
      jti === undefined ? undefined : keyOf('jti', jti),
    )
    // A token without `iat` may have been issued before the revocation.
    const isLater = (since: string) => Math.floor(iat ?? 0) > secondsIn(since) + this.#ahead
    if (tokenAt !== undefined || (subjectAt !== undefined && !isLater(subjectAt))) throw new Refused('revoked')
  }

  async #read(...keys: readonly (string | undefined)[]): Promise<readonly (string | undefined)[]> {
    try {
      return await Promise.all(keys.map(key => (key === undefined ? undefined : this.#values.get(key))))
    } catch (error) {
      throw new Refused('revocations unavailable', error)
    }
  }
}

/** @throws TypeError for invalid arguments of `revoke`. */
export function checkRevoked(which: Revoked, seconds: number): void {
  const entries = Object.entries(which ?? {})
  const isValid = entries.length === 1 && entries.every(([key, name]) => /^(sub|jti)$/.test(key) && isName(name))
  if (!isValid) throw new TypeError('revoke() takes { sub } or { jti } with a string that is not empty')
  if (!(seconds > 0 && seconds < Number.POSITIVE_INFINITY))
    throw new TypeError(`revoke() takes seconds above 0, received ${seconds}`)
}

function isName(name: unknown): boolean {
  return typeof name === 'string' && name !== ''
}

/** NaN for an invalid stored value, so that the token counts as revoked. */
function secondsIn(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN
}

function keyOf(kind: 'sub' | 'jti', name: string): string {
  return `jwt:revoked:${kind}:${name}`
}
