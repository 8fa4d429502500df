import type { Values } from 'filtered-websocket'
import { Refused } from './refused.ts'
import type { Claims } from './verify.ts'

/** All tokens that a subject has been issued so far, or one by its id. */
export type Revoked = { readonly sub: string } | { readonly jti: string }

/** What has been revoked, for all nodes, until the tokens that it is about have expired. */
export class Revocations {
  readonly #values: Values
  /** Whole seconds that the clock of an issuer may be ahead. */
  readonly #ahead: number

  constructor(values: Values, clockTolerance: number) {
    this.#values = values
    this.#ahead = Math.ceil(clockTolerance)
  }

  async add(which: Revoked, seconds: number): Promise<void> {
    const key = 'sub' in which ? keyOf('sub', which.sub) : keyOf('jti', which.jti)
    await this.#values.set(key, String(Math.floor(Date.now() / 1000)), { ttlMs: Math.ceil(seconds * 1000) })
  }

  /** @throws Refused: revoked, or nobody knows, which is no better. */
  async check({ sub, jti, iat }: Claims): Promise<void> {
    const [subjectAt, tokenAt] = await this.#read(
      sub === undefined ? undefined : keyOf('sub', sub),
      jti === undefined ? undefined : keyOf('jti', jti),
    )
    // One that does not say when it was issued may be an old one.
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

/** @throws TypeError: not what `revoke` takes. */
export function checkRevoked(which: Revoked, seconds: number): void {
  const entries = Object.entries(which ?? {})
  const isRight = entries.length === 1 && entries.every(([key, name]) => /^(sub|jti)$/.test(key) && isName(name))
  if (!isRight) throw new TypeError('revoke() takes { sub } or { jti } with a text')
  if (!(seconds > 0 && seconds < Number.POSITIVE_INFINITY))
    throw new TypeError(`revoke() takes seconds above 0, received ${seconds}`)
}

function isName(name: unknown): boolean {
  return typeof name === 'string' && name !== ''
}

/** Not a number where the storage holds anything else: nothing is later than that. */
function secondsIn(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN
}

function keyOf(kind: 'sub' | 'jti', name: string): string {
  return `jwt:revoked:${kind}:${name}`
}
