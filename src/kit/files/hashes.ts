import { createHash } from 'node:crypto'
import { BoundedMap } from '../bounded-map.ts'
import { Limiter } from '../limiter.ts'
import type { StoredFile } from './stored-file.ts'

const MAX_RUNNING = 2
const MAX_WAITING = 64
/** Hashes of unchanged files that are remembered. */
const MAX_REMEMBERED = 256
/** Bytes. */
const CHUNK = 262_144

/**
 * SHA-256 of files, in hexadecimal; two are computed at a time, and 64 wait.
 *
 * @example
 * const hashes = new FileHashes()
 * const sha256 = await hashes.of(file, client.signal)
 */
export class FileHashes {
  readonly #known = new BoundedMap<string, string>(MAX_REMEMBERED)
  readonly #limiter = new Limiter({ max: MAX_RUNNING, maxWaiting: MAX_WAITING, noun: 'files' })

  /** @throws (rejects) LimitError; FileError `changed`; the signal's reason. */
  async of(file: StoredFile, signal?: AbortSignal): Promise<string> {
    return this.#known.get(file.version) ?? this.#limiter.run(() => this.#compute(file, signal), signal)
  }

  async #compute(file: StoredFile, signal: AbortSignal | undefined): Promise<string> {
    const hash = createHash('sha256')
    for (let offset = 0; offset < file.size; offset += CHUNK) {
      signal?.throwIfAborted()
      hash.update(await file.read(offset, CHUNK))
    }
    await file.checkUnchanged()
    const sha256 = hash.digest('hex')
    this.#known.set(file.version, sha256)
    return sha256
  }
}
