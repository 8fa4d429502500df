import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readJson } from 'filtered-websocket/kit'
import { algorithmsOf, type TokenHead } from './algorithms.ts'
import { Refused } from './refused.ts'

const DEFAULTS = {
  /** Milliseconds until the set is fetched again before it is used. */
  freshMs: 600_000,
  /** Milliseconds for which it serves on while it cannot be fetched. */
  staleMs: 3_600_000,
  /** Milliseconds between two fetches, whatever tokens ask for. */
  cooldownMs: 10_000,
  timeoutMs: 5000,
  /** Of the answer. */
  maxBytes: 1_048_576,
  now: () => performance.now(),
}
const MAX_KEYS = 100
/** Key types with a public half (RFC 7518, section 6.1); a symmetric key in a public document is no secret. */
const PUBLIC_TYPES: readonly unknown[] = ['RSA', 'EC', 'OKP']

/** Logs an error of a fetch. */
export type Warn = (error: unknown, text: string) => void

interface RemoteKey {
  readonly kid: string | undefined
  /** As the set says, or else any that fits the key. */
  readonly algorithms: readonly string[]
  readonly key: KeyObject
}

/**
 * The keys behind a JWKS URL, as one set: tokens with made-up key ids cost a fetch for all of them together, and keep no
 * other token from its key.
 */
export class RemoteKeys {
  readonly #url: URL
  readonly #warn: Warn
  readonly #limits: typeof DEFAULTS
  #keys: readonly RemoteKey[] = []
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  constructor(url: URL, { warn, ...limits }: { warn: Warn } & Partial<typeof DEFAULTS>) {
    this.#warn = warn
    this.#limits = { ...DEFAULTS, ...limits }
    this.#url = url
  }

  /** The key of a token. @throws Refused. */
  async find(head: TokenHead): Promise<KeyObject> {
    const { now, freshMs, staleMs } = this.#limits
    if (now() - this.#fetchedAt > freshMs) await this.#fetch()
    let found = this.#match(head)
    if (found === undefined) {
      // The issuer may have a new one.
      await this.#fetch()
      found = this.#match(head)
    }
    if (now() - this.#fetchedAt > staleMs) throw new Refused('key unavailable')
    // With the last fetch failed, nobody knows whether there is such a key.
    if (found === undefined) throw new Refused(this.#triedAt > this.#fetchedAt ? 'key unavailable' : 'unknown key')
    return found
  }

  /** Without a key id only the one key there is can be meant. A key id is compared, and nothing else. */
  #match({ kid, alg }: TokenHead): KeyObject | undefined {
    const meant = kid === undefined ? this.#keys.slice(0, this.#keys.length === 1 ? 1 : 0) : this.#keys
    return meant.find(key => (kid === undefined || key.kid === kid) && key.algorithms.includes(alg))?.key
  }

  /** Settles when the set has been fetched, or cannot be. */
  #fetch(): Promise<void> {
    const { now, cooldownMs } = this.#limits
    if (this.#fetching === undefined && now() - this.#triedAt < cooldownMs) return Promise.resolve()
    this.#fetching ??= this.#read().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #read(): Promise<void> {
    this.#triedAt = this.#limits.now()
    try {
      const keys = (await fetchSet(this.#url, this.#limits)).flatMap(keyOf)
      if (keys.length === 0) throw new Error('the answer has no key for signatures')
      this.#keys = keys.filter(({ algorithms }) => algorithms.length > 0)
      this.#fetchedAt = this.#triedAt
    } catch (error) {
      this.#warn(error, 'the keys of the issuer cannot be fetched')
    }
  }
}

/** A public key for signatures of a set (RFC 7517, section 4); empty for any other key. */
function keyOf(jwk: JsonWebKey & { readonly kid?: unknown; readonly alg?: unknown }): RemoteKey[] {
  const { use, kty, kid, alg, d } = jwk
  if (!PUBLIC_TYPES.includes(kty) || (use !== undefined && use !== 'sig') || d !== undefined) return []
  let key: KeyObject
  try {
    key = createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    return []
  }
  const possible = algorithmsOf(key)
  const algorithms = typeof alg === 'string' && alg !== '' ? possible.filter(algorithm => algorithm === alg) : possible
  return [{ kid: typeof kid === 'string' && kid !== '' ? kid : undefined, key, algorithms }]
}

/** No redirect is followed: the URL was checked, where it leads to was not. */
async function fetchSet(
  url: URL,
  { timeoutMs, maxBytes }: { timeoutMs: number; maxBytes: number },
): Promise<JsonWebKey[]> {
  const answer = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!answer.ok) throw new Error(`the answer is ${answer.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  const set: unknown = readJson(Buffer.concat(chunks).toString())
  const keys = (set as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new Error('the answer is no key set')
  return keys.filter(key => typeof key === 'object' && key !== null).slice(0, MAX_KEYS)
}
