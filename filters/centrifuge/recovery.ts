import type { StreamEntry } from 'filtered-websocket'
import { publicationsOf } from './codec.ts'

/** Characters from which clients share the publications without a copy. */
const MIN_SHARED = 16_384

/** Encodes missed entries once for all clients that return with the same position. */
export class Recoveries {
  /** By the array of entries, which the answers to these clients share. */
  readonly #encoded = new WeakMap<readonly StreamEntry[], string | Buffer>()

  /**
   * Missed publications as JSON without brackets; many are shared bytes.
   *
   * @param client - id of the client: entries that except it are left out.
   */
  of(entries: readonly StreamEntry[], client: string): string | Buffer {
    const isOwn = ({ except }: StreamEntry) => except === client
    if (entries.some(isOwn)) return publicationsOf(entries.filter(entry => !isOwn(entry)))
    let encoded = this.#encoded.get(entries)
    if (encoded === undefined) {
      const text = publicationsOf(entries)
      encoded = text.length < MIN_SHARED ? text : Buffer.from(text)
      this.#encoded.set(entries, encoded)
    }
    return encoded
  }
}
