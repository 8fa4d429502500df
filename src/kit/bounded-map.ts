import { inSlices } from './in-slices.ts'

/**
 * A `Map` with at most `max` entries, which evicts the entry that was set longest ago.
 *
 * @example
 * const hashes = new BoundedMap<string, string>(256)
 * hashes.set(path, hash)
 */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #max: number
  readonly #onEvict: ((value: V, key: K) => void) | undefined

  /** @param onEvict - called after an entry was evicted; MUST NOT throw. */
  constructor(max: number, onEvict?: (value: V, key: K) => void) {
    super()
    this.#max = max
    this.#onEvict = onEvict
  }

  /** Sets an entry, which becomes the newest. */
  override set(key: K, value: V): this {
    this.delete(key)
    super.set(key, value)
    if (this.size > this.#max) {
      const [oldest, evicted] = this.entries().next().value!
      this.delete(oldest)
      this.#onEvict?.(evicted, oldest)
    }
    return this
  }

  /** The value of a key, made if it does not exist; the entry becomes the newest. */
  use(key: K, make: () => V): V {
    const value = this.get(key) ?? make()
    this.set(key, value)
    return value
  }

  /** Deletes the entries whose values pass the test, in slices; see `inSlices`. */
  deleteWhere(test: (value: V) => boolean): Promise<void> | undefined {
    return inSlices(this.#present(), ([key, value]) => {
      if (test(value)) this.delete(key)
    })
  }

  /** As many entries as there are now: those that are set meanwhile come last, and could continue without end. */
  *#present(): Iterable<[K, V]> {
    let rest = this.size
    for (const entry of this) {
      yield entry
      if (--rest === 0) return
    }
  }
}
