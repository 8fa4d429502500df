import type { StreamEntry } from 'filtered-websocket'
import { publicationsOf } from './codec.ts'

/** Characters from which on clients share the publications without a copy. */
const MIN_SHARED = 16_384

/** Encodes missed entries once for all clients that return with the same position. */
export class Recoveries {
  /** By the array that their answers share. */
  readonly #known = new WeakMap<readonly StreamEntry[], string | Buffer>()

  /**
   * Missed publications as JSON without brackets; many are shared bytes.
   *
   * @param client - its id: it does not get entries that except it.
   */
  of(entries: readonly StreamEntry[], client: string): string | Buffer {
    const isOwn = ({ except }: StreamEntry) => except === client
    if (entries.some(isOwn)) return publicationsOf(entries.filter(entry => !isOwn(entry)))
    let known = this.#known.get(entries)
    if (known === undefined) {
      const text = publicationsOf(entries)
      known = text.length < MIN_SHARED ? text : Buffer.from(text)
      this.#known.set(entries, known)
    }
    return known
  }
}
