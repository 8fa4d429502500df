import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readJson } from 'filtered-websocket/kit'
import { algorithmsOf, type TokenHead } from './algorithms.ts'
import { NotAKeySet, notAKeySet, notJson, wrongStatus } from './not-a-key-set.ts'
import { Refused } from './refusal.ts'

const DEFAULTS = {
  /** Milliseconds after which the key set is fetched again before use. */
  freshMs: 600_000,
  /** Milliseconds for which it stays valid while fetches fail. */
  staleMs: 3_600_000,
  /** Minimum milliseconds between fetches. */
  cooldownMs: 10_000,
  timeoutMs: 5000,
  /** Bytes of the response. */
  maxBytes: 1_048_576,
  now: () => performance.now(),
}
const MAX_KEYS = 100
/** Asymmetric key types (RFC 7518, section 6.1); a symmetric key in a public document is not secret. */
const PUBLIC_TYPES: readonly unknown[] = ['RSA', 'EC', 'OKP']

/** Logs a failed fetch. */
export type Warn = (error: unknown, message: string) => void

interface RemoteKey {
  readonly kid: string | undefined
  /** The algorithm named by the set. Default: all that fit the key. */
  readonly algorithms: readonly string[]
  readonly key: KeyObject
}

/**
 * The key set of a JWKS URL. Unknown key ids cause at most one fetch per cooldown, and do not delay tokens with known ids.
 */
export class RemoteKeys {
  readonly #url: URL
  readonly #warn: Warn
  readonly #limits: typeof DEFAULTS
  #keys: readonly RemoteKey[] = []
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined
  /** Whether the log has the advice for a response that is not a key set. */
  #isAdvised = false

  constructor(url: URL, { warn, ...limits }: { warn: Warn } & Partial<typeof DEFAULTS>) {
    this.#warn = warn
    this.#limits = { ...DEFAULTS, ...limits }
    this.#url = url
  }

  /** Fetches the set before it is needed, so that a wrong URL is in the log at start. */
  prefetch(): void {
    void this.#fetch()
  }

  /** Finds the key of a token. @throws Refused */
  async find(head: TokenHead): Promise<KeyObject> {
    const { now, freshMs, staleMs } = this.#limits
    if (now() - this.#fetchedAt > freshMs) await this.#fetch()
    let found = this.#match(head)
    if (found === undefined) {
      // The issuer may have added a key.
      await this.#fetch()
      found = this.#match(head)
    }
    if (now() - this.#fetchedAt > staleMs) throw new Refused('key unavailable')
    // After a failed fetch, a missing key may exist at the issuer.
    if (found === undefined) throw new Refused(this.#triedAt > this.#fetchedAt ? 'key unavailable' : 'unknown key')
    return found
  }

  /** A token without a key id matches only if the set has a single key. */
  #match({ kid, alg }: TokenHead): KeyObject | undefined {
    const candidates = kid === undefined ? this.#keys.slice(0, this.#keys.length === 1 ? 1 : 0) : this.#keys
    return candidates.find(key => (kid === undefined || key.kid === kid) && key.algorithms.includes(alg))?.key
  }

  /** Resolves after the fetch, also if it fails. */
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
      if (keys.length === 0) throw new Error('the response has no signature keys')
      this.#keys = keys.filter(({ algorithms }) => algorithms.length > 0)
      this.#fetchedAt = this.#triedAt
    } catch (error) {
      const advice = error instanceof NotAKeySet && !this.#isAdvised ? `; ${error.hint}` : ''
      this.#isAdvised ||= advice !== ''
      this.#warn(error, `cannot fetch the keys of the issuer${advice}`)
    }
  }
}

/** Imports a public signature key (RFC 7517, section 4); empty for other keys. */
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

/** Follows no redirects, since only the configured URL has been checked. */
async function fetchSet(
  url: URL,
  { timeoutMs, maxBytes }: { timeoutMs: number; maxBytes: number },
): Promise<JsonWebKey[]> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!response.ok) throw wrongStatus(response, url)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Error(`the response is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString()
  let document: unknown
  try {
    document = readJson(text)
  } catch (error) {
    throw notJson(text, error)
  }
  const keys = (document as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw notAKeySet(document, url)
  return keys.filter(key => typeof key === 'object' && key !== null).slice(0, MAX_KEYS)
}
